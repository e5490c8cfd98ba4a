//! Larger memory after out-of-memory errors.

use siren_core::{Error, ErrorKind, Result};

use super::Trainer;

impl Trainer {
    /// Twice this memory, or the largest that the platform has.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] when the platform has no larger memory.
    pub(super) fn next_memory_size(&self, memory_mb: u32) -> Result<u32> {
        if memory_mb >= self.platform.memory_at_least(u32::MAX) {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "a function of {memory_mb} MB ran out of memory, and {} has no larger one: make the \
                     batches or the model smaller",
                    self.platform.name
                ),
            ));
        }
        Ok(self.platform.memory_at_least(memory_mb.saturating_mul(2)))
    }

    /// Records that workers need more memory than this, in this epoch and all later ones.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next_memory_size`](Self::next_memory_size).
    pub(super) fn raise_least_memory(&mut self, memory_mb: u32) -> Result<()> {
        self.least_memory_mb = self.least_memory_mb.max(self.next_memory_size(memory_mb)?);
        Ok(())
    }
}
