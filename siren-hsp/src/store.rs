//! Parameter stores.

mod memory;
mod noise;
mod objects;
mod summary;
mod update;

pub use memory::MemoryStore;
#[cfg(any(test, feature = "yardstick"))]
pub use objects::CasStore;
pub use objects::{ObjectOptions, ObjectStore};
