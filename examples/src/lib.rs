//! What the examples share: LeNet and MNIST, a network for sentences and movie reviews, the flags of a
//! training run, live progress, the files a run leaves behind.

pub mod flags;
pub mod lenet;
pub mod mnist;
pub mod progress;
pub mod run;
pub mod sentences;

pub use flags::Flags;
