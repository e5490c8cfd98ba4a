//! The sources of the billed times of invocations.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of invocations, the sources of their billed times, and transferred bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bills {
    /// Invocations that may have begun.
    pub invocations: u64,
    /// Invocations whose billed time the platform reported.
    pub reported: u64,
    /// Invocations whose billed time is computed from the function's own measurements.
    pub computed: u64,
    /// Launches that the platform refused, or that found no connection. They were tried again.
    pub refused: u64,
    /// Bytes of requests, without headers.
    pub sent: u64,
    /// Bytes of answers, without headers and logs.
    pub received: u64,
}

impl Bills {
    /// The number of invocations with an unknown bill. Their full reservation counts as spent.
    pub fn unknown(&self) -> u64 {
        self.invocations.saturating_sub(self.reported + self.computed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) invocations: AtomicU64,
    pub(super) reported: AtomicU64,
    pub(super) computed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Counter {
    pub(super) fn bills(&self) -> Bills {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Bills {
            invocations: of(&self.invocations),
            reported: of(&self.reported),
            computed: of(&self.computed),
            refused: of(&self.refused),
            sent: of(&self.sent),
            received: of(&self.received),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}
