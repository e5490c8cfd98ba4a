//! A correct clock, and wrong ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::channel::oneshot;
use siren_core::conformance::clock::{self, Subject};
use siren_core::conformance::clock_tests;
use siren_core::{Clock, Time};

use super::bite::faults;

clock_tests!(wall_clock, Subject::new(WallClock::new()));

/// The fault of a clock.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    BlocksItsThread,
    EndsSleepsEarly,
    GoesBack,
    WaitsForThePast,
}

/// The machine's time. Every sleep has a thread.
pub(crate) struct WallClock {
    origin: Instant,
    reads: AtomicU64,
    fault: Option<Fault>,
}

impl WallClock {
    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), reads: AtomicU64::new(0), fault: None }
    }

    fn with_fault(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::new() }
    }
}

#[async_trait]
impl Clock for WallClock {
    fn now(&self) -> Time {
        let since = self.origin.elapsed();
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        if self.fault == Some(Fault::GoesBack) && read % 64 == 63 {
            return Time::new(since / 2);
        }
        Time::new(since)
    }

    async fn sleep_until(&self, deadline: Time) {
        let mut left = deadline.since(self.now());
        match self.fault {
            Some(Fault::EndsSleepsEarly) => left /= 2,
            Some(Fault::WaitsForThePast) => left = left.max(Duration::from_millis(200)),
            _ => {}
        }
        if left.is_zero() {
            return;
        }
        // The sleeper notices when the future is dropped.
        let (_alive, dropped) = channel::<()>();
        let (wake, woken) = oneshot::channel();
        let sleeper = std::thread::spawn(move || {
            if dropped.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                let _ = wake.send(());
            }
        });
        if self.fault == Some(Fault::BlocksItsThread) {
            sleeper.join().unwrap();
        }
        woken.await.unwrap();
    }
}

fn with_fault(fault: Fault) -> Subject {
    Subject::new(WallClock::with_fault(fault))
}

faults! { clock::FACTS, with_fault;
    a_clock_that_goes_back: GoesBack => time_never_goes_back;
    sleeps_that_end_early: EndsSleepsEarly => a_sleep_lasts_until_its_deadline;
    sleeps_that_block_their_thread: BlocksItsThread =>
        sleeps_pass_at_the_same_time a_dropped_sleep_is_forgotten;
    sleeps_that_wait_for_the_past: WaitsForThePast => a_past_deadline_is_not_waited_for;
}
