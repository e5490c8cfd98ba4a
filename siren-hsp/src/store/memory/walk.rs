//! The order in which a push or a pull visits the blocks.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// The end and the direction of a thread's last walk.
#[derive(Clone, Copy)]
struct Place {
    /// The store of the walk.
    store: u64,
    block: usize,
    forwards: bool,
}

thread_local! {
    static LAST: Cell<Option<Place>> = const { Cell::new(None) };
}

/// The order in which threads visit the blocks of a store. A thread's walk starts at the end of its
/// previous walk and runs in the opposite direction, since those blocks are still in the core's
/// cache. This helps models about as large as a cache. Also, threads that meet pass each other
/// instead of following each other from lock to lock.
pub(super) struct Walks {
    store: u64,
    blocks: usize,
    /// The number of threads that have walked over this store.
    threads: AtomicU64,
}

impl Walks {
    pub(super) fn new(blocks: usize) -> Self {
        static STORES: AtomicU64 = AtomicU64::new(0);
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        Self { store, blocks, threads: AtomicU64::new(0) }
    }

    /// Visits every block once. New threads start far from one another.
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

    /// The start of a new thread: steps of the golden ratio keep all starts apart.
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
        // A thread that used another store in between counts as new.
        let here: Vec<usize> = walks.walk().collect();
        let _ = Walks::new(3).walk();
        assert_ne!(walks.walk().next(), here.last().copied());
    }
}
