//! What the examples share: LeNet, MNIST, tables, the flags of a training run, live progress, the
//! files a run leaves behind.

pub mod flags;
pub mod lab;
pub mod lenet;
pub mod mnist;
pub mod progress;
pub mod run;
pub mod tables;

pub use flags::Flags;
