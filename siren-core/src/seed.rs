//! The only source of randomness.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The purpose of a random stream. Two streams of one seed are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[non_exhaustive]
pub enum Stream {
    /// Initial parameters.
    Init = 1,
    /// The order in which an epoch visits the batches.
    Order = 2,
    /// The draws of gradients, such as dropout masks.
    Gradient = 3,
    /// Jitter of retries.
    Retry = 4,
    /// The draws of a scheduler.
    Scheduler = 5,
    /// The draws of a simulated platform.
    Platform = 6,
}

/// A seed that can be split by stream, and then by any number of indices such as the epoch, the
/// batch or the shard. Equal paths give equal seeds on every machine and in every version with the
/// same major number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// A seed from a number.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The seed of `stream` at `path`.
    ///
    /// ```
    /// use siren_core::{Seed, Stream};
    /// let run = Seed::new(7);
    /// let (epoch, batch) = (3, 14);
    /// assert_eq!(
    ///     run.split(Stream::Gradient, &[epoch, batch]),
    ///     run.split(Stream::Gradient, &[epoch]).child(batch),
    /// );
    /// assert_ne!(run.split(Stream::Order, &[epoch]), run.split(Stream::Order, &[epoch + 1]));
    /// ```
    #[must_use]
    pub fn split(self, stream: Stream, path: &[u64]) -> Self {
        path.iter().fold(self.child(stream as u64), |seed, &index| seed.child(index))
    }

    /// The seed one level down, at `index`.
    #[must_use]
    pub fn child(self, index: u64) -> Self {
        Self(mix(mix(self.0).wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }

    /// A generator that starts from this seed. The algorithm (ChaCha with 8 rounds) is part of the
    /// contract: the same seed draws the same numbers everywhere.
    pub fn rng(self) -> impl rand::Rng + Clone + Send + Sync + use<> {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::Rng;

    use super::*;

    #[test]
    fn paths_do_not_collide() {
        let mut seen = HashSet::new();
        for epoch in 0..100 {
            for batch in 0..1_000 {
                let seed = Seed::new(1).split(Stream::Gradient, &[epoch, batch]);
                assert!(seen.insert(seed), "({epoch}, {batch}) repeats a seed");
            }
        }
    }

    #[test]
    fn a_seed_draws_the_same_numbers_in_every_version() {
        let mut rng = Seed::new(42).split(Stream::Order, &[0]).rng();
        let drawn = [rng.next_u32(), rng.next_u32()];
        assert_eq!(drawn, FIRST_OF_SEED_42);
    }

    const FIRST_OF_SEED_42: [u32; 2] = [24_750_347, 1_095_649_388];
}
