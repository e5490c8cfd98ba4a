//! Traits for wrappers around stores, backends and schedulers that change a part of the behaviour.

mod backend;
mod scheduler;
mod store;

pub use backend::BackendDecorator;
pub use scheduler::SchedulerDecorator;
pub use store::StoreDecorator;
