//! Execution environments, which determine the functions that start warm.

use std::collections::HashMap;
use std::time::Duration;

use siren_core::platform::Starts;
use siren_core::{Role, Time};

use crate::fault::seconds;

/// A version of the function. Each role and each memory size has its own version.
pub(crate) type Version = (Role, u32);

/// The environments of one function on its platform, by version.
#[derive(Default)]
pub(crate) struct Environments {
    /// The times at which the idle environments were last used.
    idle: HashMap<Version, Vec<Time>>,
    /// The time from which each version can be called.
    published: HashMap<Version, Time>,
    /// The start of the last burst, and the number of new environments since then.
    burst: Option<(Time, u32)>,
    /// The time at which the driver has sent its last call.
    sent: Time,
}

/// The start of an invocation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Start {
    /// The time at which the platform starts it.
    pub(crate) at: Time,
    /// `true` if it starts in a new environment.
    pub(crate) cold: bool,
}

impl Environments {
    /// Takes an environment for a call at `now`.
    pub(crate) fn take(&mut self, starts: &Starts, version: Version, now: Time) -> Start {
        self.sent = self.sent.max(now) + seconds(starts.dispatch_ms / 1e3);
        // The first version of each role counts as published.
        let first = !self.published.keys().any(|(role, _)| *role == version.0);
        let publish = if first { 0.0 } else { starts.publish_s };
        let published = *self.published.entry(version).or_insert(now + seconds(publish));
        let at = self.sent.max(published);
        let idle = self.idle.entry(version).or_default();
        // The environment that was used last, so that the others may end.
        while let Some(last) = idle.pop() {
            if at.since(last) <= seconds(starts.keep_s) {
                return Start { at, cold: false };
            }
        }
        Start { at: self.burst(starts, at), cold: true }
    }

    /// The time at which a new environment can start.
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
        // Further environments wait for the next burst.
        self.burst = Some((begun + length, 1));
        begun + length
    }

    /// Returns an environment after its invocation.
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
        // Another size has no environment, and must be published.
        assert_eq!(all.take(&starts, worker(512), at(2.0)), Start { at: at(7.0), cold: true });
        assert_eq!(all.take(&starts, worker(256), at(2.0)), Start { at: at(2.0), cold: false });
        assert!(all.take(&starts, worker(256), at(3.0)).cold, "it is in use");
        all.give(worker(256), at(4.0));
        assert!(all.take(&starts, worker(256), at(304.5)).cold, "it is gone");
        // The first version of the aggregators counts as published, too.
        assert_eq!(all.take(&starts, (Role::Aggregator, 512), at(305.0)).at, at(305.0));
        // A size stays published.
        assert_eq!(all.take(&starts, worker(512), at(400.0)).at, at(400.0));
    }

    #[test]
    fn a_thousand_new_environments_every_ten_seconds() {
        let (mut all, starts) = (Environments::default(), STARTS());
        let begun: Vec<Time> =
            (0..2_500).map(|_| all.take(&starts, worker(256), at(5.0)).at).collect();
        let of = |moment| begun.iter().filter(|&&time| time == at(moment)).count();
        assert_eq!([of(5.0), of(15.0), of(25.0)], [1_000, 1_000, 500]);
        // Unused starts do not accumulate.
        let late: Vec<Time> =
            (0..1_001).map(|_| all.take(&starts, worker(256), at(100.0)).at).collect();
        assert_eq!(late.iter().filter(|&&time| time == at(100.0)).count(), 1_000);
        assert_eq!(late[1_000], at(110.0));
    }
}
