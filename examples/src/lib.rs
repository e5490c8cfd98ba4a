//! What the examples share: LeNet, MNIST, tables, step times, the flags of a training run, previews, live
//! progress, the files a run leaves behind.

pub mod flags;
pub mod lenet;
pub mod mnist;
pub mod preview;
pub mod progress;
pub mod run;
pub mod steps;
pub mod tables;

pub use flags::Flags;
