//! Virtual time: a clock that jumps to the next event, and the tasks that wait for it.
//!
//! Everything runs on the thread that calls [`VirtualClock::run`], one task at a time. When no task
//! is ready, the clock jumps to the earliest event, which wakes one task. Events are ordered by
//! (time, tie-break, sequence), so neither the number of cores nor the machine's load can change a
//! result.

mod task;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::{Clock, Error, ErrorKind, Result, Time};
use slab::Slab;
pub(crate) use task::Spawned;
use task::{Ready, RootWaker, Task};

/// A clock of virtual time, in nanoseconds. All clones have the same time.
///
/// Time passes only in [`run`](Self::run), when all tasks wait for a later time.
#[derive(Clone)]
pub struct VirtualClock {
    core: Arc<Core>,
    /// Orders events at the same time by the clone on which they wait.
    tie_break: u32,
}

struct Core {
    now: AtomicU64,
    running: AtomicBool,
    ready: Arc<Ready>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    events: BinaryHeap<Reverse<Event>>,
    timers: Slab<Timer>,
    /// The number of events whose timers were dropped.
    stale: usize,
    sequence: u64,
    tasks: Slab<Arc<Task>>,
}

/// Ordered by its fields.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    time: u64,
    tie_break: u32,
    sequence: u64,
    timer: usize,
}

struct Timer {
    sequence: u64,
    waker: Waker,
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl VirtualClock {
    /// A clock at its origin.
    pub fn new() -> Self {
        let core = Core {
            now: AtomicU64::new(0),
            running: AtomicBool::new(false),
            ready: Arc::default(),
            state: Mutex::default(),
        };
        Self { core: Arc::new(core), tie_break: 0 }
    }

    /// The same clock with another tie-break. Among events at the same time, the one with the
    /// lowest tie-break comes first.
    pub(crate) fn with_tie_break(&self, tie_break: u32) -> Self {
        Self { core: Arc::clone(&self.core), tie_break }
    }

    /// Runs `future` to its end, with all tasks that it starts, on this thread in virtual time.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`], with the names of the waiting tasks, at a deadlock: `future`
    /// waits, and no event is left. Returns [`ErrorKind::Rejected`] when the clock runs already.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        if self.core.running.swap(true, Ordering::AcqRel) {
            return Err(Error::rejected(
                "this simulation runs already: wait until it is done, or make another one",
            ));
        }
        let _running = Running(&self.core.running);
        // The caller may be a task of a runtime whose budget would suppress wake-ups after a while.
        let mut future = pin!(tokio::task::coop::unconstrained(future));
        let root = Arc::new(RootWaker::new(Arc::clone(&self.core.ready)));
        root.wake_up();
        let waker = Waker::from(Arc::clone(&root));
        let mut context = Context::from_waker(&waker);
        loop {
            while let Some(next) = self.core.ready.pop() {
                match next {
                    Some(task) => task.poll(),
                    None => {
                        root.polled();
                        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                            return Ok(output);
                        }
                    }
                }
            }
            if !self.core.advance() {
                return Err(self.deadlock());
            }
        }
    }

    /// `true` if the clock is running.
    pub(crate) fn is_running(&self) -> bool {
        self.core.running.load(Ordering::Acquire)
    }

    /// Starts a task. The error of a deadlock contains its `name`.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        name: String,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Spawned<T> {
        let (task, spawned) = Task::new(name, Arc::clone(&self.core.ready), future);
        let key = self.core.state.lock().tasks.insert(Arc::clone(&task));
        task.wake_up();
        let core = Arc::clone(&self.core);
        spawned.on_end(move || {
            core.state.lock().tasks.try_remove(key);
        })
    }

    /// Waits until `deadline`.
    pub(crate) fn until(&self, deadline: Time) -> Sleep {
        Sleep {
            core: Arc::clone(&self.core),
            tie_break: self.tie_break,
            deadline: nanos(deadline),
            timer: None,
        }
    }

    /// Waits for `duration`.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        self.until(self.now() + duration)
    }

    fn deadlock(&self) -> Error {
        let mut names: Vec<String> =
            self.core.state.lock().tasks.iter().map(|(_, task)| task.name().to_owned()).collect();
        names.sort();
        let more = names.len().saturating_sub(NAMES);
        names.truncate(NAMES);
        names.insert(0, "the driver".into());
        if more > 0 {
            names.push(format!("{more} more"));
        }
        let message = format!(
            "deadlock at {}: no event is left, and these tasks wait: {}",
            self.now(),
            names.join(", ")
        );
        Error::new(ErrorKind::Other, message)
    }
}

/// The most tasks that the error of a deadlock names.
const NAMES: usize = 20;

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Time {
        Time::new(Duration::from_nanos(self.core.now.load(Ordering::Acquire)))
    }

    async fn sleep_until(&self, deadline: Time) {
        self.until(deadline).await;
    }
}

fn nanos(time: Time) -> u64 {
    u64::try_from(time.since_origin().as_nanos()).unwrap_or(u64::MAX)
}

struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Core {
    /// Jumps to the earliest event and wakes the task that waits for it. Returns `false` if there
    /// is none.
    fn advance(&self) -> bool {
        let mut state = self.state.lock();
        while let Some(Reverse(event)) = state.events.pop() {
            let waits = state.timers.get(event.timer).is_some_and(|t| t.sequence == event.sequence);
            if !waits {
                state.stale -= 1;
                continue;
            }
            // The end of time never comes.
            if event.time == u64::MAX {
                state.events.push(Reverse(event));
                return false;
            }
            let timer = state.timers.remove(event.timer);
            drop(state);
            self.now.fetch_max(event.time, Ordering::AcqRel);
            timer.waker.wake();
            return true;
        }
        false
    }
}

/// Waits on a [`VirtualClock`].
pub(crate) struct Sleep {
    core: Arc<Core>,
    tie_break: u32,
    deadline: u64,
    timer: Option<(usize, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.core.now.load(Ordering::Acquire) >= self.deadline {
            return Poll::Ready(());
        }
        let mut state = self.core.state.lock();
        if let Some((key, sequence)) = self.timer
            && let Some(timer) = state.timers.get_mut(key).filter(|t| t.sequence == sequence)
        {
            timer.waker.clone_from(cx.waker());
            return Poll::Pending;
        }
        state.sequence += 1;
        let sequence = state.sequence;
        let timer = state.timers.insert(Timer { sequence, waker: cx.waker().clone() });
        let (time, tie_break) = (self.deadline, self.tie_break);
        state.events.push(Reverse(Event { time, tie_break, sequence, timer }));
        drop(state);
        self.timer = Some((timer, sequence));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some((key, sequence)) = self.timer else { return };
        let mut state = self.core.state.lock();
        if state.timers.get(key).is_none_or(|timer| timer.sequence != sequence) {
            return;
        }
        state.timers.remove(key);
        state.stale += 1;
        // Without this, dropped deadlines would fill the heap.
        if state.stale > 64 && state.stale > state.events.len() / 2 {
            let State { events, timers, stale, .. } = &mut *state;
            events.retain(|Reverse(event)| {
                timers.get(event.timer).is_some_and(|timer| timer.sequence == event.sequence)
            });
            *stale = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{join_all, pending};

    use super::*;

    #[test]
    fn time_jumps_to_the_next_event_and_no_further() {
        let clock = VirtualClock::new();
        let seen = Mutex::new(Vec::new());
        clock
            .run(join_all([3, 1, 2].map(|seconds| {
                let (clock, seen) = (clock.clone(), &seen);
                async move {
                    clock.sleep(Duration::from_secs(seconds)).await;
                    seen.lock().push(clock.now().since_origin().as_secs());
                }
            })))
            .unwrap();
        assert_eq!(*seen.lock(), [1, 2, 3]);
        assert_eq!(clock.now(), Time::new(Duration::from_secs(3)));
    }

    #[test]
    fn events_of_one_moment_come_by_tie_break_and_then_in_the_order_of_asking() {
        let clock = VirtualClock::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = [(2, 'a'), (1, 'b'), (2, 'c'), (1, 'd')]
            .map(|(tie_break, name)| {
                let (own, seen) = (clock.with_tie_break(tie_break), Arc::clone(&seen));
                clock.spawn(name.into(), async move {
                    own.until(Time::new(Duration::from_millis(5))).await;
                    seen.lock().push(name);
                })
            })
            .into_iter()
            .collect();
        clock.run(join_all(tasks)).unwrap();
        assert_eq!(*seen.lock(), ['b', 'd', 'a', 'c']);
    }

    #[test]
    fn a_deadlock_names_who_waits() {
        let clock = VirtualClock::new();
        let stuck = clock.spawn("shard 7 of epoch 3".into(), pending::<()>());
        let error = clock.run(stuck).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("the driver, shard 7 of epoch 3"), "{said}");
        // It can be run again.
        clock.run(clock.sleep(Duration::from_secs(1))).unwrap();
    }

    #[test]
    fn a_dropped_task_is_dropped_at_once() {
        let clock = VirtualClock::new();
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let own = clock.clone();
        let spawned = clock.spawn("held".into(), async move {
            own.sleep(Duration::from_secs(1_000)).await;
            drop(holds);
        });
        clock.run(clock.sleep(Duration::from_secs(1))).unwrap();
        assert_eq!(Arc::strong_count(&held), 2);
        drop(spawned);
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(clock.core.state.lock().tasks.is_empty());
    }

    #[test]
    fn forgotten_deadlines_do_not_pile_up() {
        let clock = VirtualClock::new();
        clock
            .run(async {
                for _ in 0..10_000 {
                    let far = clock.sleep(Duration::from_secs(1_000_000));
                    futures::future::select(far, clock.sleep(Duration::from_millis(1))).await;
                }
            })
            .unwrap();
        let state = clock.core.state.lock();
        assert!(state.events.len() < 200, "{} events are kept", state.events.len());
        assert!(state.timers.is_empty());
    }
}
