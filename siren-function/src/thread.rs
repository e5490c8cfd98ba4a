//! Computations of the driver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use siren_core::{Clock, ComputeTask, Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::WallClock;

/// Runs a task on a new thread, and returns its running time. Backends in real time implement
/// [`Backend::compute`](siren_core::Backend::compute) with it.
///
/// # Errors
///
/// Returns [`ErrorKind::Worker`] when the task panics.
///
/// # Cancellation
///
/// Dropping the future forgets the task, which runs to its end.
pub async fn run_on_thread(clock: WallClock, task: ComputeTask) -> Result<Duration> {
    let (done, ran) = oneshot::channel();
    std::thread::spawn(move || {
        let started = clock.now();
        let outcome = catch_unwind(AssertUnwindSafe(task));
        // The receiver is gone if the caller was dropped.
        let _ = done.send(match outcome {
            Ok(()) => Ok(clock.now() - started),
            Err(panic) => Err(Error::panicked("the driver's computation", &*panic)),
        });
    });
    ran.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Lost, "the thread is gone")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_says_why() {
        let clock = WallClock::new();
        let error = run_on_thread(clock, Box::new(|| panic!("no good"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Worker);
        assert_eq!(error.message(), "the driver's computation panicked: no good");
    }

    #[tokio::test]
    async fn the_time_of_a_task_is_what_it_ran() {
        let clock = WallClock::new();
        let task = Box::new(move || {
            let until = clock.now() + Duration::from_millis(5);
            while clock.now() < until {
                std::hint::spin_loop();
            }
        });
        let before = clock.now();
        let ran = run_on_thread(clock, task).await.unwrap();
        let waited = clock.now() - before;
        assert!(ran >= Duration::from_millis(5) && ran <= waited, "{ran:?} of {waited:?}");
    }
}
