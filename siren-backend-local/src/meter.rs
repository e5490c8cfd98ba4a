//! Measuring the execution time of an invocation.

use std::time::Duration;

use parking_lot::Mutex;
use siren_core::{Clock, Time};
use siren_function::WallClock;

/// Measures one invocation's execution: the time since its start, without waits for a thread.
#[derive(Debug)]
pub(crate) struct Meter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    started: Time,
    waited: Duration,
    /// The start of the current wait, if there is one.
    waiting: Option<Time>,
    cpu: Duration,
}

impl Meter {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            state: Mutex::new(State {
                started: now,
                waited: Duration::ZERO,
                waiting: None,
                cpu: Duration::ZERO,
            }),
        }
    }

    /// Begins a wait for a thread.
    pub(crate) fn begin_wait(&self, now: Time) {
        self.state.lock().waiting.get_or_insert(now);
    }

    /// Ends the wait.
    pub(crate) fn end_wait(&self, now: Time) {
        let state = &mut *self.state.lock();
        if let Some(since) = state.waiting.take() {
            state.waited += now - since;
        }
    }

    /// Begins a wait that ends when the returned value is dropped.
    pub(crate) fn pause(&self, clock: WallClock) -> Pause<'_> {
        self.begin_wait(clock.now());
        Pause { meter: self, clock }
    }

    pub(crate) fn add_cpu(&self, cpu: Duration) {
        self.state.lock().cpu += cpu;
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.state.lock().cpu
    }

    pub(crate) fn executed(&self, now: Time) -> Duration {
        let state = self.state.lock();
        let waiting = state.waiting.map_or(Duration::ZERO, |since| now - since);
        (now - state.started).saturating_sub(state.waited + waiting)
    }
}

/// A wait that ends when this is dropped, also on cancellation.
pub(crate) struct Pause<'a> {
    meter: &'a Meter,
    clock: WallClock,
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.meter.end_wait(self.clock.now());
    }
}

/// The peak resident memory of this process, in bytes. Zero if the system does not report it.
pub(crate) fn peak_memory_bytes() -> u64 {
    #[cfg(unix)]
    {
        use nix::sys::resource::{UsageWho, getrusage};
        let peak = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss());
        // Bytes on Apple's systems, KiB on others.
        let unit = if cfg!(target_vendor = "apple") { 1 } else { 1024 };
        u64::try_from(peak).unwrap_or(0) * unit
    }
    #[cfg(not(unix))]
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_not_executed() {
        let at = |ms| Time::new(Duration::from_millis(ms));
        let meter = Meter::new(at(100));
        assert_eq!(meter.executed(at(110)), Duration::from_millis(10));
        meter.begin_wait(at(110));
        assert_eq!(meter.executed(at(150)), Duration::from_millis(10));
        meter.end_wait(at(150));
        assert_eq!(meter.executed(at(155)), Duration::from_millis(15));
    }

    #[cfg(unix)]
    #[test]
    fn the_peak_is_some_megabytes() {
        let peak = peak_memory_bytes();
        assert!(peak > 1 << 20 && peak < 1 << 40, "{peak}");
    }
}
