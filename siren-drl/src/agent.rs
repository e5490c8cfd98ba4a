//! The learned scheduler.
mod affordable;
mod network;
mod normaliser;
mod objective;
mod rollout;
mod settings;
mod train;
mod view;

pub use settings::{Settings, Sigma};
pub use train::Learning;
