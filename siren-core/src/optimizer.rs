//! Optimizers and gradient compression, as data.

use crate::{Error, Result};

/// The rule by which an update changes the parameters. It is data, since it runs in the store, next
/// to the parameters.
///
/// `g` is the update's gradient after clipping, plus weight decay times the parameters. Only
/// [`AdamW`](Self::AdamW) has no weight decay in `g`: it decays the parameters apart from the
/// gradient. Weight decay is applied once for each update, independent of the number of batches in
/// it. The time step `t` of Adam and AdamW counts all updates that the parameters hold. A velocity
/// or first moment below 1e-30 may be treated as zero. Under
/// [`SyncMode::Bulk`](crate::SyncMode::Bulk) a whole round counts as one update. The state starts
/// at zero.
///
/// ```
/// use siren_core::Optimizer;
/// let optimizer = Optimizer::Momentum { momentum: 0.9 };
/// assert_eq!(optimizer.state_vectors(), 1); // the velocity
/// assert_eq!(Optimizer::ADAM.state_vectors(), 2); // both moments
/// ```
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Optimizer {
    /// `p -= rate * g`.
    Sgd,
    /// `v = momentum * v + g; p -= rate * v` (heavy ball without dampening, as in PyTorch).
    Momentum {
        /// The share of the velocity that is kept, in \[0, 1).
        momentum: f32,
    },
    /// `v = momentum * v + g; p -= rate * (g + momentum * v)`: Nesterov's accelerated gradient, as
    /// in PyTorch (Sutskever, Martens, Dahl, Hinton, 2013). The step looks ahead by the velocity
    /// that the next update keeps.
    Nesterov {
        /// The share of the velocity that is kept, in \[0, 1).
        momentum: f32,
    },
    /// `s += g * g; p -= rate * g / (sqrt(s + initial) + epsilon)` (Duchi, Hazan, Singer, 2011).
    /// The steps of an entry become shorter with every gradient that it gets, and never longer.
    /// Without weight decay, entries whose gradient is zero stay as they are, so a sparse push
    /// costs only its entries.
    Adagrad {
        /// Added to the sum of squares, as if earlier gradients had left it; 0 or more, usually 0.
        initial: f32,
        /// Added to the root of the sum; above 0, usually 1e-10.
        epsilon: f32,
    },
    /// Adam with bias correction (Kingma, Ba, 2015): `m = beta1 * m + (1 - beta1) * g;
    /// v = beta2 * v + (1 - beta2) * g * g; p -= rate * m_hat / (sqrt(v_hat) + epsilon)`, where
    /// `m_hat = m / (1 - beta1^t)` and `v_hat = v / (1 - beta2^t)`.
    Adam {
        /// The decay of the first moment, in \[0, 1); usually 0.9.
        beta1: f32,
        /// The decay of the second moment, in \[0, 1); usually 0.999.
        beta2: f32,
        /// Added to the square root of the second moment; above 0, usually 1e-8.
        epsilon: f32,
    },
    /// Adam with decoupled weight decay, as in PyTorch (Loshchilov, Hutter, 2019):
    /// `p -= rate * (m_hat / (sqrt(v_hat) + epsilon) + weight_decay * p)` with the moments of
    /// [`Adam`](Self::Adam). Here `g` has no weight decay, and `p` on the right is the value before
    /// the update. All parameters decay at one rate. In Adam, those with large gradients decay less.
    #[serde(rename = "adamw")]
    AdamW {
        /// The decay of the first moment, in \[0, 1); usually 0.9.
        beta1: f32,
        /// The decay of the second moment, in \[0, 1); usually 0.999.
        beta2: f32,
        /// Added to the square root of the second moment; above 0, usually 1e-8.
        epsilon: f32,
    },
}

impl Optimizer {
    /// Adam with the usual constants.
    pub const ADAM: Self = Self::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// AdamW with the usual constants. The weight decay is that of the plan.
    pub const ADAMW: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

    /// AdaGrad with the usual constants.
    pub const ADAGRAD: Self = Self::Adagrad { initial: 0.0, epsilon: 1e-10 };

    /// The name of the optimizer, as in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sgd => "sgd",
            Self::Momentum { .. } => "momentum",
            Self::Nesterov { .. } => "nesterov",
            Self::Adagrad { .. } => "adagrad",
            Self::Adam { .. } => "adam",
            Self::AdamW { .. } => "adamw",
        }
    }

    /// One or more values of each variant, for tests that hold for every optimizer.
    pub fn samples() -> impl Iterator<Item = Self> {
        // A new variant does not compile until it is listed.
        std::iter::successors(Some(Self::Sgd), |last| match last {
            Self::Sgd => Some(Self::Momentum { momentum: 0.5 }),
            Self::Momentum { momentum: 0.5 } => Some(Self::Momentum { momentum: 0.9 }),
            Self::Momentum { .. } => Some(Self::Nesterov { momentum: 0.5 }),
            Self::Nesterov { .. } => Some(Self::ADAGRAD),
            Self::Adagrad { .. } => Some(Self::ADAM),
            Self::Adam { .. } => Some(Self::ADAMW),
            Self::AdamW { .. } => None,
        })
    }

    /// The number of vectors of the parameters' length in the optimizer's state.
    pub fn state_vectors(&self) -> usize {
        match self {
            Self::Sgd => 0,
            Self::Momentum { .. } | Self::Nesterov { .. } | Self::Adagrad { .. } => 1,
            Self::Adam { .. } | Self::AdamW { .. } => 2,
        }
    }

    /// The factor by which the noise rule multiplies the whole step of an update, weight decay
    /// included: the update's [efficiency](crate::Noise::efficiency), and for AdaGrad the root of
    /// it. AdaGrad shortens its steps itself: the first n gradients of an entry, if they are equal,
    /// move it by about `2 * rate * sqrt(n)`, not by `n * rate`. Adam forgets gradients, so that its
    /// steps stay as long.
    ///
    /// ```
    /// use siren_core::Optimizer;
    /// assert_eq!(Optimizer::ADAM.step_factor(0.25), 0.25);
    /// assert_eq!(Optimizer::ADAGRAD.step_factor(0.25), 0.5);
    /// ```
    pub fn step_factor(&self, efficiency: f64) -> f64 {
        match self {
            Self::Adagrad { .. } => efficiency.sqrt(),
            Self::Sgd
            | Self::Momentum { .. }
            | Self::Nesterov { .. }
            | Self::Adam { .. }
            | Self::AdamW { .. } => efficiency,
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
        let positive = |epsilon: f32| {
            if epsilon > 0.0 && epsilon.is_finite() {
                Ok(())
            } else {
                Err(Error::rejected(format!("epsilon is {epsilon}: give a finite number above 0")))
            }
        };
        match *self {
            Self::Sgd => Ok(()),
            Self::Momentum { momentum } | Self::Nesterov { momentum } => {
                share("momentum", momentum)
            }
            Self::Adagrad { initial, epsilon } => {
                if !(initial >= 0.0 && initial.is_finite()) {
                    return Err(Error::rejected(format!(
                        "the initial sum of squares is {initial}: give a finite number, 0 or more"
                    )));
                }
                positive(epsilon)
            }
            Self::Adam { beta1, beta2, epsilon } | Self::AdamW { beta1, beta2, epsilon } => {
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                positive(epsilon)
            }
        }
    }
}

/// The entries of a gradient that a worker pushes.
///
/// ```
/// use siren_core::Compression;
/// let compression = Compression::TopK { share: 0.01 };
/// assert_eq!(compression.entries(1_000_000), 10_000);
/// assert_eq!(compression.payload_bytes(1_000_000), 80_000); // instead of 4,000,000
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Compression {
    /// All entries.
    #[default]
    None,
    /// The entries with the largest magnitudes. The worker keeps the other entries and adds them to
    /// its next gradient (error feedback). The [last updates](crate::EpochPlan::leaves_nothing_out)
    /// of a shard push all entries that are still kept, so an epoch loses none of them. A worker
    /// that stops before its shard is finished, because it fails or its time is used up, loses the
    /// entries that it kept. Stich, Cordonnier, Jaggi, "Sparsified SGD with memory", 2018.
    TopK {
        /// The share of the entries that are pushed, above 0 and at most 1. At least one entry is
        /// pushed.
        share: f64,
    },
}

impl Compression {
    /// The number of entries in a push for a model of `dim` parameters whose gradient has no zeros.
    /// The last pushes of a shard may have all `dim` entries.
    pub fn entries(&self, dim: u64) -> u64 {
        match *self {
            Self::None => dim,
            Self::TopK { share } => ((share * dim as f64).round() as u64).max(1).min(dim),
        }
    }

    /// The bytes of these entries: 4 for each value, and 4 for each index under top-k compression.
    pub fn payload_bytes(&self, dim: u64) -> u64 {
        let entry = match self {
            Self::None => 4,
            Self::TopK { .. } => 8,
        };
        entry * self.entries(dim)
    }

    /// `true` if a worker clips the gradient of each batch before it selects entries. The store
    /// then does not clip. Otherwise the store clips the whole update.
    pub fn clips_in_worker(&self) -> bool {
        match self {
            Self::None => false,
            Self::TopK { .. } => true,
        }
    }

    /// The additional memory of a worker, for the entries that it has not pushed yet.
    pub fn extra_memory_bytes(&self, dim: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::TopK { .. } => 4 * dim,
        }
    }

    /// Checks that a push can index all `dim` parameters.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) under top-k compression when
    /// `dim` exceeds 32 bits.
    pub fn check_dim(&self, dim: usize) -> Result<()> {
        match self {
            Self::TopK { .. } if u32::try_from(dim).is_err() => Err(Error::rejected(format!(
                "top-k with {dim} parameters: it names each by 32 bits, so push dense gradients instead"
            ))),
            Self::TopK { .. } | Self::None => Ok(()),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match *self {
            Self::TopK { share } if !(share > 0.0 && share <= 1.0) => Err(Error::rejected(
                format!("the top-k share is {share}: give a number above 0, at most 1"),
            )),
            Self::TopK { .. } | Self::None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compression_says_what_it_leaves() {
        let (none, top) = (Compression::None, Compression::TopK { share: 0.01 });
        assert_eq!((none.entries(61_706), none.payload_bytes(61_706)), (61_706, 246_824));
        assert_eq!((top.entries(61_706), top.payload_bytes(61_706)), (617, 4_936));
        assert_eq!((top.entries(10), top.entries(0)), (1, 0));
        assert_eq!((none.extra_memory_bytes(10), top.extra_memory_bytes(10)), (0, 40));
        assert_eq!((none.clips_in_worker(), top.clips_in_worker()), (false, true));
        let many = u32::MAX as usize + 1;
        assert!(none.check_dim(many).is_ok() && top.check_dim(many - 1).is_ok());
        assert!(top.check_dim(many).unwrap_err().message().contains("32 bits"));
    }

    #[test]
    fn every_variant_has_a_sample_that_is_sound() {
        let samples: Vec<_> = Optimizer::samples().collect();
        for sample in &samples {
            sample.check().unwrap();
        }
        let state: Vec<_> = samples.iter().map(Optimizer::state_vectors).collect();
        assert_eq!(state, [0, 1, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn constants_that_are_not_sound_are_rejected_by_name() {
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        for (optimizer, message) in [
            (Optimizer::Momentum { momentum: 1.0 }, "momentum is 1"),
            (Optimizer::Nesterov { momentum: 1.0 }, "momentum is 1"),
            (Optimizer::Nesterov { momentum: f32::NAN }, "momentum is NaN"),
            (Optimizer::Adagrad { initial: -1.0, epsilon }, "initial sum of squares is -1"),
            (Optimizer::Adagrad { initial: f32::NAN, epsilon }, "initial sum of squares is NaN"),
            (Optimizer::Adagrad { initial: 0.0, epsilon: 0.0 }, "epsilon is 0"),
            (Optimizer::Adagrad { initial: 1.0, epsilon: f32::INFINITY }, "epsilon is inf"),
            (Optimizer::Adam { beta1: -0.5, beta2, epsilon }, "beta1 is -0.5"),
            (Optimizer::AdamW { beta1: 1.0, beta2, epsilon }, "beta1 is 1"),
            (Optimizer::AdamW { beta1, beta2: 1.0, epsilon }, "beta2 is 1"),
            (Optimizer::AdamW { beta1, beta2, epsilon: 0.0 }, "epsilon is 0"),
        ] {
            let error = optimizer.check().unwrap_err();
            assert!(error.message().contains(message), "{optimizer:?}: {error}");
        }
        Optimizer::Adagrad { initial: 0.5, epsilon }.check().unwrap();
    }
}
