//! The rate of launches after refusals of the platform.

use std::time::Duration;

use parking_lot::Mutex;
use siren_core::Time;

/// The gap between two launches after the first refusal, and the smallest gap.
const MIN_GAP: Duration = Duration::from_millis(10);

/// The largest gap.
const MAX_GAP: Duration = Duration::from_secs(1);

/// The first delay before a refused launch is tried again; it doubles up to [`MAX_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest delay before a refused launch is tried again.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Spaces the launches of all invocations. Launches have no gap until the platform refuses one.
/// Each refusal doubles the gap; refusals that come together count once. Each answer halves the
/// gap, since it makes room for another invocation.
#[derive(Debug, Default)]
pub(super) struct LaunchThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    gap: Duration,
    /// The earliest time of the next launch.
    next: Time,
    /// The time of the last request for a launch.
    now: Time,
    /// The time at which the gap last grew.
    grown: Option<Time>,
}

impl LaunchThrottle {
    /// Returns the time at which the caller may launch. With a gap, no other caller gets the same
    /// time.
    pub(super) fn next_launch(&self, now: Time) -> Time {
        let state = &mut *self.0.lock();
        state.now = state.now.max(now);
        let turn = now.max(state.next);
        state.next = turn + state.gap;
        turn
    }

    /// The platform refused a launch.
    pub(super) fn refused(&self, now: Time) {
        let state = &mut *self.0.lock();
        if state.grown.is_some_and(|grown| now.since(grown) < state.gap.max(MIN_GAP)) {
            return;
        }
        state.gap = (state.gap * 2).clamp(MIN_GAP, MAX_GAP);
        state.grown = Some(now);
        state.next = state.next.max(now + state.gap);
    }

    /// An invocation was answered.
    pub(super) fn answered(&self) {
        let state = &mut *self.0.lock();
        let before = state.gap;
        state.gap = match state.gap / 2 {
            gap if gap < MIN_GAP => Duration::ZERO,
            gap => gap,
        };
        // Launch times granted at the larger gap are too far ahead: later launches move closer.
        let ahead = state.next.since(state.now);
        let share = state.gap.as_secs_f64() / before.as_secs_f64().max(1e-9);
        if before > Duration::ZERO {
            state.next = state.now + ahead.mul_f64(share.min(1.0));
        }
    }
}

/// The delay after this number of refusals: between half and all of a delay that doubles. `random`
/// is uniform over 64 bits.
pub(super) fn delay(refusals: u32, random: u64) -> Duration {
    let most = FIRST_DELAY.saturating_mul(1 << refusals.saturating_sub(1).min(16)).min(MAX_DELAY);
    let share = random as f64 / u64::MAX as f64;
    most.mul_f64(0.5 + 0.5 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::new(Duration::from_millis(ms))
    }

    #[test]
    fn nothing_is_spaced_until_a_refusal() {
        let throttle = LaunchThrottle::default();
        for _ in 0..1_000 {
            assert_eq!(throttle.next_launch(at(5)), at(5));
        }
    }

    #[test]
    fn refusals_that_come_together_count_once() {
        let throttle = LaunchThrottle::default();
        for _ in 0..200 {
            throttle.refused(at(100));
        }
        assert_eq!(throttle.next_launch(at(100)), at(110));
        assert_eq!(throttle.next_launch(at(100)), at(120));
    }

    #[test]
    fn repeated_refusals_slow_launches_down_to_one_a_second() {
        let throttle = LaunchThrottle::default();
        for second in 0..20 {
            throttle.refused(at(second * 2_000));
        }
        let first = throttle.next_launch(at(100_000));
        assert_eq!(throttle.next_launch(at(100_000)) - first, MAX_GAP);
    }

    #[test]
    fn answers_bring_the_full_speed_back() {
        let throttle = LaunchThrottle::default();
        for second in 0..4 {
            throttle.refused(at(second * 1_000));
        }
        for _ in 0..4 {
            throttle.answered();
        }
        let turn = throttle.next_launch(at(10_000));
        assert_eq!(throttle.next_launch(at(10_000)), turn);
    }

    #[test]
    fn delays_grow_and_differ() {
        assert_eq!(delay(1, 0), FIRST_DELAY / 2);
        assert_eq!(delay(1, u64::MAX), FIRST_DELAY);
        assert_eq!(delay(3, u64::MAX), FIRST_DELAY * 4);
        assert_eq!(delay(u32::MAX, u64::MAX), MAX_DELAY);
        assert!(delay(2, 1 << 62) < delay(2, 1 << 63));
    }
}
