//! Data sources, and readers of common formats.

pub mod idx;
mod memory;

pub use memory::MemorySource;
