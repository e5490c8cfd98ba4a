//! Parameter stores.

mod memory;
mod objects;
mod update;

pub use memory::MemoryStore;
pub use objects::{CasStore, ObjectOptions, ObjectStore};
