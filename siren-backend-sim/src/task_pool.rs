//! Computations on real threads.
//!
//! A task is submitted with the virtual time at which its result is needed. Threads run the most
//! urgent task first. When the clock reaches a task that no thread has begun, the thread of the
//! simulation runs it. While it waits for a task that is running, it runs others. All cores are
//! thus busy, and only the real time depends on their number.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use siren_core::{ComputeTask, Error, ErrorKind, Result, Time};

/// The real time of a task below which it is not worth waking a thread.
const WORTH_A_THREAD: Duration = Duration::from_micros(30);

type Key = (Time, u64);

/// The threads of a simulation: the caller's thread and helper threads.
pub(crate) struct TaskPool {
    shared: Arc<Shared>,
    helpers: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signals a submitted task.
    more: Condvar,
    /// Signals a finished task.
    done: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<Key, ComputeTask>,
    /// Tasks that run on helpers. The outcome is `None` until a task is done.
    running: BTreeMap<Key, Option<Outcome>>,
    sequence: u64,
    idle: usize,
    closed: bool,
    /// The mean real time of a task.
    mean: Duration,
}

type Outcome = std::result::Result<(), Box<dyn Any + Send>>;

impl TaskPool {
    /// A pool of the caller's thread and `threads - 1` helpers.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        // Dropping the pool ends the threads that have started.
        let pool = Self { shared: Arc::default(), helpers: threads > 1 };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            std::thread::Builder::new()
                .name(format!("siren-sim-{index}"))
                .spawn(move || shared.help())
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

    /// Submits a task whose result is needed at `time`.
    pub(crate) fn submit(&self, time: Time, task: ComputeTask) -> SubmittedTask {
        let mut queue = self.shared.queue.lock();
        queue.sequence += 1;
        let key = (time, queue.sequence);
        queue.waiting.insert(key, task);
        let wake = self.helpers && queue.idle > 0 && queue.mean >= WORTH_A_THREAD;
        drop(queue);
        if wake {
            self.shared.more.notify_one();
        }
        SubmittedTask { shared: Arc::clone(&self.shared), key, open: true }
    }
}

impl Drop for TaskPool {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.more.notify_all();
    }
}

/// A submitted task. Dropping this cancels a task that no thread has begun.
pub(crate) struct SubmittedTask {
    shared: Arc<Shared>,
    key: Key,
    open: bool,
}

impl SubmittedTask {
    /// Returns when the task is done. Runs it, or other tasks, in the meantime.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.open = false;
        let mut queue = self.shared.queue.lock();
        if let Some(task) = queue.waiting.remove(&self.key) {
            drop(queue);
            return answer(self.shared.run(task));
        }
        loop {
            if let Some(Some(_)) = queue.running.get(&self.key) {
                let outcome = queue.running.remove(&self.key).flatten();
                return answer(outcome.unwrap_or(Ok(())));
            }
            if let Some((key, task)) = queue.waiting.pop_first() {
                queue.running.insert(key, None);
                drop(queue);
                let outcome = self.shared.run(task);
                queue = self.shared.queue.lock();
                queue.end(key, outcome);
            } else {
                self.shared.done.wait(&mut queue);
            }
        }
    }
}

impl Drop for SubmittedTask {
    fn drop(&mut self) {
        if self.open {
            let mut queue = self.shared.queue.lock();
            queue.waiting.remove(&self.key);
            // The running task's outcome is not needed, and is not kept.
            queue.running.remove(&self.key);
        }
    }
}

impl Queue {
    fn end(&mut self, key: Key, outcome: Outcome) {
        if let Some(slot) = self.running.get_mut(&key) {
            *slot = Some(outcome);
        }
    }
}

impl Shared {
    #[expect(clippy::disallowed_methods, reason = "decides where a task runs, not what comes out")]
    fn run(&self, task: ComputeTask) -> Outcome {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(task));
        let took = started.elapsed();
        let mut queue = self.queue.lock();
        queue.mean = (queue.mean * 7 + took) / 8;
        outcome
    }

    fn help(&self) {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return;
            }
            // The simulation's thread runs short tasks faster than it can hand them over.
            let worth = queue.mean >= WORTH_A_THREAD;
            match worth.then(|| queue.waiting.pop_first()).flatten() {
                Some((key, task)) => {
                    queue.running.insert(key, None);
                    drop(queue);
                    let outcome = self.run(task);
                    queue = self.queue.lock();
                    queue.end(key, outcome);
                    self.done.notify_all();
                }
                None => {
                    queue.idle += 1;
                    self.more.wait(&mut queue);
                    queue.idle -= 1;
                }
            }
        }
    }
}

fn answer(outcome: Outcome) -> Result<()> {
    outcome.map_err(|payload| Error::panicked("the worker", &*payload))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_task_is_done_once_whatever_the_threads() {
        for threads in [1, 2, 5] {
            let pool = TaskPool::new(threads).unwrap();
            let sum = Arc::new(AtomicU64::new(0));
            let handed: Vec<SubmittedTask> = (0..200_u64)
                .map(|i| {
                    let sum = Arc::clone(&sum);
                    let time = Time::new(Duration::from_secs(i % 17));
                    let work = move || {
                        // Long enough to be worth waking a thread.
                        std::hint::black_box(
                            (0..20_000_u64).fold(0, |s, i| std::hint::black_box(s ^ i)),
                        );
                        sum.fetch_add(i, Ordering::Relaxed);
                    };
                    pool.submit(time, Box::new(work))
                })
                .collect();
            for task in handed {
                task.finish().unwrap();
            }
            assert_eq!(sum.load(Ordering::Relaxed), 199 * 100);
            let queue = pool.shared.queue.lock();
            assert!(queue.waiting.is_empty() && queue.running.is_empty());
        }
    }

    #[test]
    fn a_panic_is_an_error_and_a_dropped_task_is_forgotten() {
        let pool = TaskPool::new(1).unwrap();
        let ran = Arc::new(AtomicU64::new(0));
        let runs = Arc::clone(&ran);
        let task = Box::new(move || {
            runs.fetch_add(1, Ordering::Relaxed);
        });
        let forgotten = pool.submit(Time::ORIGIN, task);
        let fails = pool.submit(Time::ORIGIN, Box::new(|| panic!("as it should")));
        drop(forgotten);
        let error = fails.finish().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Worker);
        assert!(error.to_string().contains("as it should"), "{error}");
        assert_eq!(ran.load(Ordering::Relaxed), 0);
    }
}
