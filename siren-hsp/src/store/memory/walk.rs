//! In which order a push or a pull goes over the blocks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a thread's last walk ended, and which way it went.
#[derive(Clone, Copy)]
struct Place {
    /// The store that it went over.
    store: u64,
    block: usize,
    forwards: bool,
}

thread_local! {
    static LAST: Cell<Option<Place>> = const { Cell::new(None) };
}

/// The order in which threads go over the blocks of a store. A walk of a thread starts where its last
/// one ended and goes back: that is what the core's cache still has. Models of the size of a cache gain
/// by it, and threads that meet pass each other instead of following each other from lock to lock.
pub(super) struct Walks {
    store: u64,
    blocks: usize,
    /// Threads that have been here.
    threads: AtomicU64,
}

impl Walks {
    pub(super) fn new(blocks: usize) -> Self {
        static STORES: AtomicU64 = AtomicU64::new(0);
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        Self { store, blocks, threads: AtomicU64::new(0) }
    }

    /// Every block once. Threads that come here for the first time start far from one another.
    pub(super) fn walk(&self) -> impl Iterator<Item = usize> + use<> {
        let blocks = self.blocks;
        let (start, forwards) = match LAST.get() {
            Some(last) if last.store == self.store => (last.block, !last.forwards),
            _ => (self.first(), true),
        };
        let at = move |step: usize| match forwards {
            true => (start + step) % blocks,
            false => (start + blocks - step) % blocks,
        };
        LAST.set(Some(Place { store: self.store, block: at(blocks - 1), forwards }));
        (0..blocks).map(at)
    }

    /// Where a new thread starts: steps of the golden ratio leave no two of them close.
    fn first(&self) -> usize {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let share = self.threads.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        ((u128::from(share) * self.blocks as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_walk_visits_every_block_once_and_goes_back() {
        for blocks in [1, 2, 7] {
            let walks = Walks::new(blocks);
            let mut last: Option<Vec<usize>> = None;
            for _ in 0..4 {
                let walk: Vec<usize> = walks.walk().collect();
                let mut sorted = walk.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..blocks).collect::<Vec<_>>());
                if let Some(last) = last {
                    assert_eq!(walk, last.into_iter().rev().collect::<Vec<_>>());
                }
                last = Some(walk);
            }
        }
    }

    #[test]
    fn threads_start_far_from_one_another() {
        let walks = Walks::new(100);
        let first =
            |_| std::thread::scope(|s| s.spawn(|| walks.walk().next().unwrap()).join().unwrap());
        assert_eq!([0, 1, 2, 3].map(first), [0, 61, 23, 85]);
        // A thread that was at another store meanwhile is new again.
        let here: Vec<usize> = walks.walk().collect();
        let _ = Walks::new(3).walk();
        assert_ne!(walks.walk().next(), here.last().copied());
    }
}
