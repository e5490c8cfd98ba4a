//! What is done to parameters and to gradients, as data.

use crate::{Error, Result};

/// How an update changes parameters. It is data, because it runs where the parameters are.
///
/// `g` is the update's gradient after clipping, plus weight decay times the parameters: decay is
/// applied once for each update, however many batches it covers. `t` of Adam counts all updates that
/// the parameters hold. A velocity or first moment below 1e-30 may count as zero. Under
/// [`SyncMode::Bulk`](crate::SyncMode::Bulk) a whole round is one update
/// in all this.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Optimizer {
    /// `p -= rate * g`.
    Sgd,
    /// `v = momentum * v + g; p -= rate * v` (heavy ball without dampening, as in PyTorch).
    Momentum {
        /// The share of the velocity that is kept, in 0..1.
        momentum: f32,
    },
    /// Adam (Kingma, Ba, 2015) with bias correction.
    Adam {
        /// Decay of the first moment, in 0..1; usually 0.9.
        beta1: f32,
        /// Decay of the second moment, in 0..1; usually 0.999.
        beta2: f32,
        /// Added to the root of the second moment; usually 1e-8.
        epsilon: f32,
    },
}

impl Optimizer {
    /// Adam with the usual constants.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// How many vectors of the parameters' length the optimizer keeps beside them.
    pub fn state_vectors(&self) -> usize {
        match self {
            Self::Sgd => 0,
            Self::Momentum { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let share = |name: &str, value: f32| {
            if (0.0..1.0).contains(&value) {
                Ok(())
            } else {
                Err(Error::rejected(format!(
                    "{name} is {value}: give a number from 0 up to, but not including, 1"
                )))
            }
        };
        match *self {
            Self::Sgd => Ok(()),
            Self::Momentum { momentum } => share("momentum", momentum),
            Self::Adam { beta1, beta2, epsilon } => {
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                if epsilon > 0.0 && epsilon.is_finite() {
                    Ok(())
                } else {
                    Err(Error::rejected(format!(
                        "epsilon is {epsilon}: give a finite number above 0"
                    )))
                }
            }
        }
    }
}

/// What a worker leaves out of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Nothing.
    #[default]
    None,
    /// All entries but the largest ones. What is left out is kept by the worker and added to its next
    /// gradient (error feedback), and the last update of a shard
    /// ([or so](crate::EpochPlan::leaves_nothing_out)) brings all that is still kept: an epoch leaves
    /// nothing out, it only comes later. A worker that is cut off, or hands back its shard because its
    /// time is up, takes along what it kept. Stich, Cordonnier, Jaggi, "Sparsified SGD with memory",
    /// 2018.
    TopK {
        /// The share of the entries that are pushed, above 0, at most 1; at least one entry is.
        share: f64,
    },
}

impl Compression {
    pub(crate) fn check(&self) -> Result<()> {
        match *self {
            Self::TopK { share } if !(share > 0.0 && share <= 1.0) => Err(Error::rejected(
                format!("the top-k share is {share}: give a number above 0, at most 1"),
            )),
            _ => Ok(()),
        }
    }
}
