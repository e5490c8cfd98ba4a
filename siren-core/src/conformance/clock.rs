//! Facts of a [`Clock`].

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join_all, select};

use super::Fact;
use super::drive::{Driven, Driver, cancel_after};
use super::fact::on_threads;
use crate::{Clock, Time};

/// The clock under test.
pub struct Subject {
    clock: Arc<dyn Clock>,
    driver: Driver,
}

impl Subject {
    /// A clock.
    pub fn new(clock: impl Clock + 'static) -> Self {
        Self { clock: Arc::new(clock), driver: Driver::default() }
    }

    /// A clock and the function that blocks on futures, on any thread. With virtual time, `run`
    /// advances the clock.
    pub fn driven<C: Clock + 'static>(
        clock: C,
        run: impl for<'a> Fn(&C, Driven<'a>) + Send + Sync + 'static,
    ) -> Self {
        let clock = Arc::new(clock);
        let driven = Arc::clone(&clock);
        Self { clock, driver: Driver::new(move |future| run(&driven, future)) }
    }
}

/// Time never decreases: not on one thread, not from one thread to another, and not during a sleep.
pub fn time_never_goes_back(subject: &Subject) {
    let clock = &subject.clock;
    let start = clock.now();
    on_threads(4, |_| {
        let mut before = start;
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(before <= now, "the clock says {now} after {before}");
            before = now;
        }
    });
    subject.driver.run(async {
        let mut before = clock.now();
        for _ in 0..5 {
            clock.sleep_until(before + Duration::from_millis(1)).await;
            let now = clock.now();
            assert!(before <= now, "the clock says {now} after {before}");
            before = now;
        }
    });
}

/// A sleep ends at its deadline or later.
pub fn a_sleep_lasts_until_its_deadline(subject: &Subject) {
    let clock = &subject.clock;
    subject.driver.run(async {
        for micros in [10, 1_000, 20_000] {
            let deadline = clock.now() + Duration::from_micros(micros);
            clock.sleep_until(deadline).await;
            let now = clock.now();
            assert!(deadline <= now, "a sleep until {deadline} ended at {now}");
        }
    });
}

/// A sleep until a past deadline returns at once.
pub fn a_past_deadline_is_not_waited_for(subject: &Subject) {
    let clock = &subject.clock;
    subject.driver.run(async {
        let start = clock.now() + Duration::from_millis(5);
        clock.sleep_until(start).await;
        for _ in 0..10 {
            clock.sleep_until(Time::ORIGIN).await;
            clock.sleep_until(start).await;
        }
        let took = clock.now().since(start);
        assert!(took < Duration::from_secs(2), "twenty passed deadlines took {took:?}");
    });
}

/// Sleeps run concurrently: a short one ends before a long one that began earlier, and many take no
/// longer than one.
pub fn sleeps_pass_at_the_same_time(subject: &Subject) {
    let clock = &subject.clock;
    subject.driver.run(async {
        let start = clock.now();
        let long = clock.sleep_until(start + Duration::from_secs(3));
        let short = clock.sleep_until(start + Duration::from_millis(10));
        let first = select(long, short).await;
        assert!(matches!(first, Either::Right(_)), "a sleep of 3 s ended before one of 10 ms");
        drop(first);
        let start = clock.now();
        let deadline = start + Duration::from_millis(50);
        join_all((0..100).map(|_| clock.sleep_until(deadline))).await;
        let took = clock.now().since(start);
        assert!(took < Duration::from_secs(3), "a hundred sleeps of 50 ms at once took {took:?}");
    });
}

/// No other sleep waits for a dropped one.
pub fn a_dropped_sleep_is_forgotten(subject: &Subject) {
    let clock = &subject.clock;
    subject.driver.run(async {
        let start = clock.now();
        for polls in 0..2 {
            let never = clock.sleep_until(start + Duration::from_secs(100_000));
            assert!(cancel_after(polls, never).await.is_none());
        }
        let deadline = start + Duration::from_millis(10);
        clock.sleep_until(deadline).await;
        let now = clock.now();
        assert!(deadline <= now && now.since(start) < Duration::from_secs(1_000));
    });
}

/// All facts.
pub const FACTS: &[Fact<Subject>] = crate::__clock_facts!(__fact_list);

/// Makes a test for each fact of a [`Clock`]: `clock_tests!(module_name, subject)`.
///
/// ```text
/// clock_tests!(wall_clock, clock::Subject::new(MyClock::new()));
/// ```
#[macro_export]
macro_rules! clock_tests {
    ($name:ident, $subject:expr $(,)?) => {
        $crate::__clock_facts!(__fact_tests $name, $subject);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __clock_facts {
    ($then:ident $($with:tt)*) => {
        $crate::$then! { [$($with)*] clock:
            time_never_goes_back
            a_sleep_lasts_until_its_deadline
            a_past_deadline_is_not_waited_for
            sleeps_pass_at_the_same_time
            a_dropped_sleep_is_forgotten
        }
    };
}
