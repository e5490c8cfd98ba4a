//! The contract, and what several handles of one store make of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use siren_core::conformance::{store, store_tests};
use siren_core::{Clock, Time};

use super::super::{ObjectOptions, ObjectStore};
use crate::objects::MemoryObjects;

/// A clock on which every wait is over at once, but for letting others run.
#[derive(Default)]
pub(super) struct Hasty(AtomicU64);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Time {
        Time::new(Duration::from_nanos(self.0.load(Ordering::Relaxed)))
    }

    async fn sleep_until(&self, deadline: Time) {
        let nanos = u64::try_from(deadline.since_origin().as_nanos()).unwrap_or(u64::MAX);
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
        std::thread::yield_now();
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }
}

pub(super) fn inline(parts: u32) -> ObjectOptions {
    ObjectOptions { parts, inline: true, ..ObjectOptions::default() }
}

fn store(dim: usize, parts: u32) -> ObjectStore {
    let objects = Arc::new(MemoryObjects::new());
    ObjectStore::new(objects, Arc::new(Hasty::default()), "runs/test", dim)
        .unwrap()
        .with_options(inline(parts))
}

store_tests!(in_one_part, store::Subject::new(|dim| async move { super::store(dim, 1) }));
store_tests!(in_three_parts, store::Subject::new(|dim| async move { super::store(dim, 3) }));
