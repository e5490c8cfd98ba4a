//! Memory that turned out to be too little.

use siren_core::{Error, ErrorKind, Result};

use super::Trainer;

impl Trainer {
    /// Twice as much memory as was too little, or as much as there is.
    ///
    /// # Errors
    ///
    /// Out of memory when there is no more.
    pub(super) fn next_memory_size(&self, memory_mb: u32) -> Result<u32> {
        if memory_mb >= self.platform.memory_at_least(u32::MAX) {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "a function of {memory_mb} MB ran out of memory, and {} has none with more: make the \
                     batches or the model smaller",
                    self.platform.name
                ),
            ));
        }
        Ok(self.platform.memory_at_least(memory_mb.saturating_mul(2)))
    }

    /// Remembers that workers need more memory than this, in this epoch and all later ones.
    ///
    /// # Errors
    ///
    /// As [`next_memory_size`](Self::next_memory_size).
    pub(super) fn raise_least_memory(&mut self, memory_mb: u32) -> Result<()> {
        self.least_memory_mb = self.least_memory_mb.max(self.next_memory_size(memory_mb)?);
        Ok(())
    }
}
