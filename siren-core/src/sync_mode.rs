//! The synchronisation of workers within an epoch.

/// The synchronisation of workers between the barriers of an epoch. A *round* of a worker is one
/// pull and one push.
///
/// ```
/// use siren_core::SyncMode;
/// // A worker that has pushed 5 updates may pull when every unfinished shard has pushed 3.
/// assert_eq!(SyncMode::Stale { bound: 2 }.progress(5), 3);
/// assert_eq!(SyncMode::Bulk.progress(5), 5);
/// assert_eq!(SyncMode::Hybrid.progress(5), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// Workers do not wait for one another between the barriers. Hybrid Synchronous Parallel, HSP
    /// (Wang, Niu, Li, INFOCOM 2019).
    #[default]
    Hybrid,
    /// In every round, each worker waits for all others. The store keeps the updates of a round.
    /// When it has the last one, it applies their mean, weighted by examples, as one update. This
    /// is the same as one worker whose batches are as large as those of all workers together. Bulk
    /// Synchronous Parallel, BSP (Valiant, 1990).
    Bulk,
    /// No worker runs more than `bound` rounds ahead of the slowest one. Updates are applied one by
    /// one, in the order in which they arrive. Stale Synchronous Parallel, SSP (Ho and others,
    /// 2013).
    Stale {
        /// The number of rounds that a worker may be ahead. With 0, all workers run in step.
        bound: u64,
    },
}

impl SyncMode {
    /// The number of updates that every unfinished shard must have pushed before a worker that has
    /// pushed `round` updates may pull.
    pub fn progress(self, round: u64) -> u64 {
        match self {
            Self::Hybrid => 0,
            Self::Bulk => round,
            Self::Stale { bound } => round.saturating_sub(bound),
        }
    }

    /// `true` if workers wait for one another, so that a failed worker delays the others.
    pub fn waits(self) -> bool {
        match self {
            Self::Hybrid => false,
            Self::Bulk | Self::Stale { .. } => true,
        }
    }

    /// `true` if the updates of a round are applied as one update: their mean, weighted by
    /// examples.
    pub fn merges_rounds(self) -> bool {
        match self {
            Self::Bulk => true,
            Self::Hybrid | Self::Stale { .. } => false,
        }
    }

    /// `true` if no worker starts a round before all workers have finished the previous one.
    pub fn runs_in_step(self) -> bool {
        match self {
            Self::Bulk | Self::Stale { bound: 0 } => true,
            Self::Hybrid | Self::Stale { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SyncMode::{Bulk, Hybrid, Stale};

    #[test]
    fn a_worker_waits_for_all_but_the_bound_of_its_rounds() {
        let progress = |sync_mode: super::SyncMode| [0, 1, 5].map(|n| sync_mode.progress(n));
        assert_eq!(progress(Hybrid), [0, 0, 0]);
        assert_eq!(progress(Bulk), [0, 1, 5]);
        assert_eq!(progress(Stale { bound: 0 }), [0, 1, 5]);
        assert_eq!(progress(Stale { bound: 3 }), [0, 0, 2]);
        let modes = [Hybrid, Bulk, Stale { bound: 0 }, Stale { bound: 9 }];
        assert_eq!(modes.map(|mode| mode.waits()), [false, true, true, true]);
        assert_eq!(modes.map(|mode| mode.merges_rounds()), [false, true, false, false]);
        assert_eq!(modes.map(|mode| mode.runs_in_step()), [false, true, true, false]);
    }
}
