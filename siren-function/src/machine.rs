//! The machine that a function has to itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use siren_core::{Clock, ComputeTask, Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use crate::WallClock;

/// Runs mathematics, one task at a time, on another thread than the one that waits for the network.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) clock: WallClock,
    turn: Arc<Semaphore>,
}

impl Machine {
    pub(crate) fn new(clock: WallClock) -> Self {
        Self { clock, turn: Arc::new(Semaphore::new(1)) }
    }

    /// `true` while a task runs. A task whose future was dropped still runs to its end.
    pub(crate) fn is_busy(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// Runs a task, and returns its running time.
    pub(crate) async fn run(&self, task: ComputeTask) -> Result<Duration> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let clock = self.clock;
        let run = move || {
            let started = clock.now();
            let outcome = catch_unwind(AssertUnwindSafe(task));
            let ran = clock.now() - started;
            drop(turn);
            outcome.map(|()| ran).map_err(|panic| Error::panicked("the worker", &*panic))
        };
        tokio::task::spawn_blocking(run).await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Lost, "the thread is gone").with_source(error))
        })
    }
}

/// The peak resident memory of this process, in bytes. Zero if the system does not report it.
pub(crate) fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    peak_in(&status).unwrap_or(0)
}

/// Resets the measured peak, if the system allows it. An environment that is used again would
/// otherwise report the peak of an earlier invocation.
pub(crate) fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The high-water mark in the text of `/proc/self/status`.
fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_from_the_systems_words() {
        let status = "Name:\tbootstrap\nVmPeak:\t  999 kB\nVmHWM:\t   20480 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_in(status), Some(20_480 * 1024));
        assert_eq!(peak_in("VmHWM:\t lots"), None);
        assert_eq!(peak_in(""), None);
    }

    #[tokio::test]
    async fn after_a_panic_the_machine_runs_the_next_task() {
        let machine = Machine::new(WallClock::new());
        let error = machine.run(Box::new(|| panic!("no {}", "good"))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Worker);
        assert!(error.message().ends_with("no good"), "{error}");
        assert!(!machine.is_busy());
        machine.run(Box::new(|| ())).await.unwrap();
    }

    #[tokio::test]
    async fn a_dropped_task_keeps_the_machine_busy() {
        let machine = Machine::new(WallClock::new());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let mut task = Box::pin(machine.run(Box::new(move || {
            let _ = released.recv();
        })));
        assert!(futures::poll!(&mut task).is_pending());
        drop(task);
        assert!(machine.is_busy());
        release.send(()).unwrap();
        machine.run(Box::new(|| ())).await.unwrap();
        assert!(!machine.is_busy());
    }
}
