//! Traits for stores, backends and schedulers that wrap another one and change a part of what it does.

mod backend;
mod scheduler;
mod store;

pub use backend::BackendDecorator;
pub use scheduler::SchedulerDecorator;
pub use store::StoreDecorator;
