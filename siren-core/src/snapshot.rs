//! The state of a store between two epochs.

use crate::{Error, NoiseAverages, Result};

/// The whole state of a store between two epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The number of epochs sealed so far.
    pub sealed_epochs: u64,
    /// The number of updates that the parameters hold.
    pub version: u64,
    /// The parameters.
    pub values: Vec<f32>,
    /// The optimizer's state: [`Optimizer::state_vectors`](crate::Optimizer::state_vectors) vectors
    /// of the parameters' length, or none in an initial state.
    pub optimizer_state: Vec<Vec<f32>>,
    /// The averages of gradient noise, one for each part of the store that has its own; empty in an
    /// initial state.
    pub noise: Vec<NoiseAverages>,
}

impl Snapshot {
    /// The state before the first epoch.
    pub fn initial(values: Vec<f32>) -> Self {
        Self {
            sealed_epochs: 0,
            version: 0,
            values,
            optimizer_state: Vec::new(),
            noise: Vec::new(),
        }
    }

    /// Checks that this is a state that a store may have.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when there are no parameters or
    /// a vector of the optimizer's state has another length, and
    /// [`ErrorKind::Diverged`](crate::ErrorKind::Diverged), naming the entry, when an entry is not
    /// finite.
    pub fn check(&self) -> Result<()> {
        if self.values.is_empty()
            || self.optimizer_state.iter().any(|s| s.len() != self.values.len())
        {
            return Err(Error::rejected(
                "the snapshot's vectors are empty or of different lengths: take it from a store or \
                 a checkpoint",
            ));
        }
        let vectors = std::iter::once(&self.values).chain(&self.optimizer_state);
        for (vector, values) in vectors.enumerate() {
            if let Some(entry) = values.iter().position(|v| !v.is_finite()) {
                return Err(Error::new(
                    crate::ErrorKind::Diverged,
                    format!("entry {entry} of the snapshot's vector {vector} is not finite"),
                ));
            }
        }
        if let Some(part) = self.noise.iter().position(|noise| !noise.is_finite()) {
            return Err(Error::new(
                crate::ErrorKind::Diverged,
                format!("the noise averages of part {part} in the snapshot are not finite"),
            ));
        }
        Ok(())
    }
}
