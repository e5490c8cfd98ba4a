//! How fast invocations are launched once the platform has refused some.

use std::time::Duration;

use parking_lot::Mutex;
use siren_core::Time;

/// The first gap between two launches after a refusal, and the least one.
const MIN_GAP: Duration = Duration::from_millis(10);

/// The largest gap.
const MAX_GAP: Duration = Duration::from_secs(1);

/// The first delay before a refused launch is tried again; it doubles up to [`MAX_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest delay before a refused launch is tried again.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Spaces the launches of all invocations. Nothing is spaced until the platform refuses one; refusals
/// that come together count once, each doubles the gap, and each answer, which makes room for another
/// invocation, halves it.
#[derive(Debug, Default)]
pub(super) struct LaunchThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    gap: Duration,
    /// When the next launch may be.
    next: Time,
    /// When it was last asked.
    now: Time,
    /// When the gap last grew.
    grown: Option<Time>,
}

impl LaunchThrottle {
    /// When the caller may launch; nobody else may at that moment, if there is a gap.
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
        // Turns that were given out at the larger gap lie too far ahead: what follows comes sooner.
        let ahead = state.next.since(state.now);
        let share = state.gap.as_secs_f64() / before.as_secs_f64().max(1e-9);
        if before > Duration::ZERO {
            state.next = state.now + ahead.mul_f64(share.min(1.0));
        }
    }
}

/// How long a launch waits that was refused so many times: a random share, of `random` in all of 64
/// bits, of a delay that doubles.
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
    fn refusals_that_go_on_slow_the_launch_down_to_one_a_second() {
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
