//! Tasks, and the queue of ready tasks.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::coop::unconstrained;

/// The ready tasks in the order of their wake-ups. `None` stands for the root future.
#[derive(Default)]
pub(super) struct Ready(Mutex<VecDeque<Option<Arc<Task>>>>);

impl Ready {
    pub(super) fn pop(&self) -> Option<Option<Arc<Task>>> {
        self.0.lock().pop_front()
    }

    fn push(&self, task: Option<Arc<Task>>) {
        self.0.lock().push_back(task);
    }
}

/// Wakes the root future, which the clock runs.
pub(super) struct RootWaker {
    ready: Arc<Ready>,
    queued: AtomicBool,
}

impl RootWaker {
    pub(super) fn new(ready: Arc<Ready>) -> Self {
        Self { ready, queued: AtomicBool::new(false) }
    }

    pub(super) fn wake_up(&self) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(None);
        }
    }

    pub(super) fn polled(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for RootWaker {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_up();
    }
}

/// A task that runs beside the root future.
pub(super) struct Task {
    name: String,
    ready: Arc<Ready>,
    queued: AtomicBool,
    /// `None` when the task is done or dropped.
    future: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Task {
    pub(super) fn new<T: Send + 'static>(
        name: String,
        ready: Arc<Ready>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> (Arc<Self>, Spawned<T>) {
        let (done, output) = oneshot::channel();
        let body = async move {
            let _ = done.send(future.await);
        };
        let task = Arc::new(Self {
            name,
            ready,
            queued: AtomicBool::new(false),
            future: Mutex::new(Some(Box::pin(unconstrained(body)))),
        });
        (Arc::clone(&task), Spawned { task, output, end: None })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn wake_up(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.ready.push(Some(Arc::clone(self)));
        }
    }

    pub(super) fn poll(self: &Arc<Self>) {
        self.queued.store(false, Ordering::Release);
        let Some(mut future) = self.future.lock().take() else { return };
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        // A panic ends only this task, which then has no output.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        if matches!(polled, Ok(Poll::Pending)) {
            *self.future.lock() = Some(future);
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_up();
    }
}

/// Waits for a task's output, which is `None` if the task panicked. Dropping this drops the task.
pub(crate) struct Spawned<T> {
    task: Arc<Task>,
    output: oneshot::Receiver<T>,
    end: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Spawned<T> {
    pub(super) fn on_end(self, end: impl FnOnce() + Send + 'static) -> Self {
        // Fields cannot be moved out of a type with `Drop`, so this changes one in place.
        let mut spawned = self;
        spawned.end = Some(Box::new(end));
        spawned
    }
}

impl<T> Future for Spawned<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Pin::new(&mut self.output).poll(cx).map(Result::ok)
    }
}

impl<T> Drop for Spawned<T> {
    fn drop(&mut self) {
        let future = self.task.future.lock().take();
        drop(future);
        if let Some(end) = self.end.take() {
            end();
        }
    }
}
