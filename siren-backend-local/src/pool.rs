//! The pool of compute threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use parking_lot::{Condvar, Mutex};
use siren_core::{Clock, ComputeTask, Error, ErrorKind, Result};
use siren_function::WallClock;
use tokio::sync::oneshot;

use crate::meter::Meter;

/// The times of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskTimes {
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
}

/// A fixed number of threads that run tasks in the order of submission. Each worker has at most one
/// task here, so all workers advance at the same pace.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: WallClock,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Queued>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tasks", self.tasks.len())
    }
}

struct Queued {
    task: ComputeTask,
    meter: Arc<Meter>,
    done: oneshot::Sender<Result<TaskTimes>>,
}

impl Pool {
    pub(crate) fn new(threads: usize, clock: WallClock) -> Result<Self> {
        let pool = Self {
            shared: Arc::new(Shared { clock, queue: Mutex::default(), changed: Condvar::new() }),
        };
        for index in 0..threads {
            let shared = Arc::clone(&pool.shared);
            std::thread::Builder::new()
                .name(format!("siren-compute-{index}"))
                .spawn(move || shared.work())
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Other,
                        format!("cannot start {threads} threads: ask for fewer"),
                    )
                    .with_source(error)
                })?;
        }
        Ok(pool)
    }

    /// Runs a task in its turn. Dropping the future cancels a task that has not started.
    pub(crate) async fn run(&self, task: ComputeTask, meter: Arc<Meter>) -> Result<TaskTimes> {
        let (done, result) = oneshot::channel();
        let _queued = meter.pause(self.shared.clock);
        self.shared.queue.lock().tasks.push_back(Queued { task, meter: Arc::clone(&meter), done });
        self.shared.changed.notify_one();
        result
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Lost, "the compute threads are gone")))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(Queued { task, meter, done }) = self.next() {
            // The worker was dropped while its task was queued.
            if done.is_closed() {
                continue;
            }
            let started = self.clock.now();
            meter.end_wait(started);
            let cpu = ThreadTime::now();
            let outcome = catch_unwind(AssertUnwindSafe(task));
            let ran = TaskTimes { elapsed: self.clock.now() - started, cpu: cpu.elapsed() };
            meter.add_cpu(ran.cpu);
            let _ = done.send(match outcome {
                Ok(()) => Ok(ran),
                Err(panic) => Err(Error::panicked("the worker", &*panic)),
            });
        }
    }

    fn next(&self) -> Option<Queued> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(task) = queue.tasks.pop_front() {
                return Some(task);
            }
            if queue.closed {
                return None;
            }
            self.changed.wait(&mut queue);
        }
    }
}
