//! Counting requests and transferred bytes.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

use siren_core::Requests;

/// Requests made and bytes transferred, without headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that are paid for, including refused ones.
    pub requests: Requests,
    /// Bytes written.
    pub sent: u64,
    /// Bytes read. A listing counts its keys and 250 bytes more for each. These bytes are paid for
    /// if the reader is outside the bucket's region.
    pub received: u64,
}

impl Sub for Traffic {
    type Output = Self;
    /// The traffic since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            sent: self.sent.saturating_sub(earlier.sent),
            received: self.received.saturating_sub(earlier.received),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter {
    writes: AtomicU64,
    reads: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counter {
    pub(super) fn traffic(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            requests: Requests { writes: of(&self.writes), reads: of(&self.reads) },
            sent: of(&self.sent),
            received: of(&self.received),
        }
    }

    /// Counts a GET.
    pub(super) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a PUT, POST or LIST with a body of `bytes`.
    pub(super) fn write(&self, bytes: usize) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes of an answer.
    pub(super) fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
