//! Parameter stores.

mod memory;

pub use memory::MemoryStore;
