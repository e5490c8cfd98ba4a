//! Running futures to their end, or for a number of polls.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// A future that the function given to `Subject::driven` must run to its end.
pub type Driven<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs futures to their end.
pub(super) struct Driver(Box<dyn for<'a> Fn(Driven<'a>) + Send + Sync>);

impl Default for Driver {
    fn default() -> Self {
        Self::new(|future| futures::executor::block_on(future))
    }
}

impl Driver {
    pub(super) fn new(run: impl for<'a> Fn(Driven<'a>) + Send + Sync + 'static) -> Self {
        Self(Box::new(run))
    }

    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut output = None;
        (self.0)(Box::pin(async { output = Some(future.await) }));
        output.expect("the driver ran the future to its end")
    }
}

/// Polls `future` whenever it wakes, at most `polls` times, and then drops it. Returns its output
/// if it finished.
pub(super) async fn cancel_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    if polls == 0 {
        return None;
    }
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(move |cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// `true` if `future` is still pending after many polls. Do not poll it again if this returns
/// `false`.
pub(super) async fn stays_pending<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    for _ in 0..10 {
        let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await;
        if !pending {
            return false;
        }
        yield_now().await;
    }
    true
}

/// Lets all other ready futures run.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
