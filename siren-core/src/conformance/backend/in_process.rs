//! Workers made by closures, and their communication in memory.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{Context, Invocation, Result, Worker, WorkerReport};

type Running<'a> = BoxFuture<'a, Result<WorkerReport>>;

struct FnWorker<F>(F);

#[async_trait]
impl<F> Worker for FnWorker<F>
where
    F: for<'a> Fn(&'a Invocation, &'a dyn Context) -> Running<'a> + Send + Sync,
{
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport> {
        (self.0)(invocation, context).await
    }
}

/// A worker that runs `run`.
pub(super) fn worker(
    run: impl for<'a> Fn(&'a Invocation, &'a dyn Context) -> Running<'a> + Send + Sync + 'static,
) -> Arc<dyn Worker> {
    Arc::new(FnWorker(run))
}

/// A flag that an event raises.
#[derive(Clone, Default)]
pub(super) struct Flag(Arc<AtomicBool>);

impl Flag {
    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Returns a guard that raises the flag when it is dropped.
    pub(super) fn on_drop(&self) -> impl Drop + Send + use<> {
        struct OnDrop(Flag);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.raise();
            }
        }
        OnDrop(self.clone())
    }
}

/// A point at which workers wait until all have arrived.
#[derive(Clone)]
pub(super) struct Barrier(Arc<Mutex<(u32, Vec<Waker>)>>);

impl Barrier {
    pub(super) fn of(workers: u32) -> Self {
        Self(Arc::new(Mutex::new((workers, Vec::new()))))
    }

    pub(super) async fn wait(&self) {
        let mut arrived = false;
        poll_fn(|cx| {
            let mut state = self.0.lock().expect("no panic");
            let (missing, waiting) = &mut *state;
            if !arrived {
                arrived = true;
                *missing -= 1;
            }
            if *missing == 0 {
                waiting.drain(..).for_each(Waker::wake);
                return Poll::Ready(());
            }
            waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
