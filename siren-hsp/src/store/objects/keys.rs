//! The keys of a run's objects.

use std::ops::Range;

use siren_core::{Error, Result};

/// The keys of one run. Numbers are written with all their digits, so that the byte order of keys
/// is the order of their numbers.
///
/// | key | object |
/// | --- | --- |
/// | `{run}/state` | the state of the run, where all decisions are made |
/// | `{run}/part/{lineage}/{part}` | a part of the parameters |
/// | `{run}/update/{generation}/{shard}/{position}` | one pushed update |
pub(super) struct Keys {
    run: String,
}

impl Keys {
    pub(super) fn new(run: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-/_".contains(c);
        if run.is_empty() || run.starts_with('/') || run.ends_with('/') || !run.chars().all(allowed)
        {
            return Err(Error::rejected(format!(
                "'{run}' cannot be the key prefix of a run: give a path of letters, digits, \
                 dots, dashes, underscores and slashes, without a slash at its ends"
            )));
        }
        Ok(Self { run: run.to_owned() })
    }

    pub(super) fn state(&self) -> String {
        format!("{}/state", self.run)
    }

    /// The single object of the baseline store.
    #[cfg(any(test, feature = "yardstick"))]
    pub(super) fn whole(&self) -> String {
        format!("{}/whole", self.run)
    }

    /// The prefix of all parts.
    pub(super) fn parts(&self) -> String {
        format!("{}/part/", self.run)
    }

    pub(super) fn part(&self, lineage: u64, part: usize) -> String {
        format!("{}/part/{lineage:020}/{part:05}", self.run)
    }

    /// The prefix of all updates.
    pub(super) fn updates(&self) -> String {
        format!("{}/update/", self.run)
    }

    /// The prefix of an epoch's updates.
    pub(super) fn updates_of(&self, generation: u64) -> String {
        format!("{}/update/{generation:020}/", self.run)
    }

    pub(super) fn update(&self, generation: u64, shard: u32, position: u64) -> String {
        format!("{}/update/{generation:020}/{shard:010}/{position:020}", self.run)
    }

    /// The shard and the position of an update of this generation.
    pub(super) fn parse(&self, generation: u64, key: &str) -> Option<(u32, u64)> {
        let (shard, position) =
            key.strip_prefix(self.updates_of(generation).as_str())?.split_once('/')?;
        Some((shard.parse().ok()?, position.parse().ok()?))
    }

    /// The number that follows a prefix of parts or updates: the lineage or the generation.
    pub(super) fn leading_number(prefix: &str, key: &str) -> Option<u64> {
        key.strip_prefix(prefix)?.split('/').next()?.parse().ok()
    }
}

/// The division of the parameters into parts: consecutive ranges whose lengths differ by at most
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cuts {
    pub(super) dim: usize,
    pub(super) parts: usize,
}

impl Cuts {
    pub(super) fn range(self, part: usize) -> Range<usize> {
        let cut = |part: usize| (self.dim as u128 * part as u128 / self.parts as u128) as usize;
        cut(part)..cut(part + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_can_be_read_back_and_are_in_the_order_of_their_numbers() {
        let keys = Keys::new("runs/a.b-c_1").unwrap();
        assert_eq!(keys.parse(7, &keys.update(7, 12, 345)), Some((12, 345)));
        assert_eq!(keys.parse(8, &keys.update(7, 12, 345)), None);
        assert_eq!(keys.parse(7, "runs/a.b-c_1/update/00000000000000000007/x/1"), None);
        assert!(keys.update(7, 2, 900) < keys.update(7, 10, 3));
        assert_eq!(Keys::leading_number(&keys.updates(), &keys.update(7, 1, 2)), Some(7));
        assert_eq!(Keys::leading_number(&keys.parts(), &keys.part(3, 1)), Some(3));
    }

    #[test]
    fn a_name_that_is_no_path_is_refused() {
        for bad in ["", "/a", "a/", "a b", "a\n", "ä"] {
            let error = Keys::new(bad).err().expect("refused");
            assert!(error.message().contains(&format!("'{bad}'")), "{error}");
        }
    }

    #[test]
    fn parts_cover_every_parameter_once() {
        for (dim, parts) in [(1, 1), (10, 3), (100, 7), (5, 5)] {
            let cuts = Cuts { dim, parts };
            let all: Vec<usize> = (0..parts).flat_map(|part| cuts.range(part)).collect();
            assert_eq!(all, (0..dim).collect::<Vec<_>>());
        }
    }
}
