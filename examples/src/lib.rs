//! What the examples share: LeNet and MNIST, a network for sentences and movie reviews, tables, the
//! flags of a training run, live progress, the files a run leaves behind, jobs on simulated platforms,
//! schedulers beside one another.

pub mod contest;
pub mod flags;
pub mod lab;
pub mod mnist;
pub mod preview;
pub mod progress;
pub mod run;
pub mod schedulers;
pub mod sentences;
pub mod steps;
pub mod tables;
pub mod testbed;
pub mod toy;

pub use flags::Flags;
