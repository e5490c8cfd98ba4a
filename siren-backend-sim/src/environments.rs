//! Execution environments: which functions start warm.

use std::collections::HashMap;
use std::time::Duration;

use siren_core::platform::Starts;
use siren_core::{Role, Time};

use crate::fault::seconds;

/// A version of the function: workers and aggregators have versions of their own, and so has each
/// memory size.
pub(crate) type Version = (Role, u32);

/// The environments of one function on its platform, by version.
#[derive(Default)]
pub(crate) struct Environments {
    /// When each idle environment was last used.
    idle: HashMap<Version, Vec<Time>>,
    /// When each version can be called.
    published: HashMap<Version, Time>,
    /// New environments since the last burst began.
    burst: Option<(Time, u32)>,
    /// When the driver has sent its last call.
    sent: Time,
}

/// How an invocation starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Start {
    /// When the platform takes it up.
    pub(crate) at: Time,
    /// Whether in a new environment.
    pub(crate) cold: bool,
}

impl Environments {
    /// Takes an environment for a call at `now`.
    pub(crate) fn take(&mut self, starts: &Starts, version: Version, now: Time) -> Start {
        self.sent = self.sent.max(now) + seconds(starts.dispatch_ms / 1e3);
        // What a job begins with is there already.
        let first = !self.published.keys().any(|(role, _)| *role == version.0);
        let publish = if first { 0.0 } else { starts.publish_s };
        let published = *self.published.entry(version).or_insert(now + seconds(publish));
        let at = self.sent.max(published);
        let idle = self.idle.entry(version).or_default();
        // The one used last: the others may end.
        while let Some(last) = idle.pop() {
            if at.since(last) <= seconds(starts.keep_s) {
                return Start { at, cold: false };
            }
        }
        Start { at: self.burst(starts, at), cold: true }
    }

    /// When a new environment can be had.
    fn burst(&mut self, starts: &Starts, at: Time) -> Time {
        let length = seconds(starts.burst_s).max(Duration::from_nanos(1));
        let (begun, taken) = match self.burst {
            Some((begun, taken)) if at.since(begun) < length => (begun, taken),
            _ => (at, 0),
        };
        if taken < starts.burst {
            self.burst = Some((begun, taken + 1));
            return at.max(begun);
        }
        // The rest has to wait for the next one.
        self.burst = Some((begun + length, 1));
        begun + length
    }

    /// Gives an environment back.
    pub(crate) fn give(&mut self, version: Version, now: Time) {
        self.idle.entry(version).or_default().push(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: fn() -> Starts = || Starts { dispatch_ms: 0.0, ..Starts::default() };

    fn worker(memory_mb: u32) -> Version {
        (Role::Shard, memory_mb)
    }

    fn at(seconds: f64) -> Time {
        Time::new(Duration::from_secs_f64(seconds))
    }

    #[test]
    fn environments_are_kept_by_memory_size_and_not_for_ever() {
        let (mut all, starts) = (Environments::default(), STARTS());
        assert!(all.take(&starts, worker(256), at(0.0)).cold);
        all.give(worker(256), at(1.0));
        // Another size has none, and has to be published.
        assert_eq!(all.take(&starts, worker(512), at(2.0)), Start { at: at(7.0), cold: true });
        assert_eq!(all.take(&starts, worker(256), at(2.0)), Start { at: at(2.0), cold: false });
        assert!(all.take(&starts, worker(256), at(3.0)).cold, "it is in use");
        all.give(worker(256), at(4.0));
        assert!(all.take(&starts, worker(256), at(304.5)).cold, "it is gone");
        // What aggregators begin with is there too.
        assert_eq!(all.take(&starts, (Role::Aggregator, 512), at(305.0)).at, at(305.0));
        // A size that was published once stays so.
        assert_eq!(all.take(&starts, worker(512), at(400.0)).at, at(400.0));
    }

    #[test]
    fn a_thousand_new_environments_every_ten_seconds() {
        let (mut all, starts) = (Environments::default(), STARTS());
        let begun: Vec<Time> =
            (0..2_500).map(|_| all.take(&starts, worker(256), at(5.0)).at).collect();
        let of = |moment| begun.iter().filter(|&&time| time == at(moment)).count();
        assert_eq!([of(5.0), of(15.0), of(25.0)], [1_000, 1_000, 500]);
        // What was not used does not add up.
        let late: Vec<Time> =
            (0..1_001).map(|_| all.take(&starts, worker(256), at(100.0)).at).collect();
        assert_eq!(late.iter().filter(|&&time| time == at(100.0)).count(), 1_000);
        assert_eq!(late[1_000], at(110.0));
    }
}
