//! Data sources, and readers of common formats.

pub mod idx;
mod memory;
mod open;
mod ragged;

pub use memory::MemorySource;
pub use open::open;
pub use ragged::RaggedSource;
