//! What the examples share: LeNet, MNIST, the flags of a training run, live progress, the files a
//! run leaves behind.

pub mod flags;
pub mod lenet;
pub mod mnist;
pub mod progress;
pub mod run;

pub use flags::Flags;
