//! Code that the examples share: MNIST, a network for sentences and movie reviews, tables, the
//! flags of a training run, its schedulers, live progress, and the files a run leaves behind.

pub mod flags;
pub mod mnist;
pub mod output;
pub mod preview;
pub mod progress;
pub mod run;
pub mod schedulers;
pub mod sentences;
pub mod steps;
pub mod tables;

pub use flags::{Flags, Program};
