//! Parameter stores.

mod memory;
mod update;

pub use memory::MemoryStore;
