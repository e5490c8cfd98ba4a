//! Sparse updates.

use super::{Epoch, Subject, plan};
use crate::{
    Entry, EpochPlan, Gradient, Noise, Optimizer, ParameterStore, Replica, Snapshot, SparseSlice,
    SyncMode,
};

/// A sparse update has the same effect, to the bit, as the dense one whose other entries are zero:
/// for every optimizer, with weight decay and clipping, alone and in the mean of a round.
pub fn a_sparse_update_is_the_dense_one_with_zeros(subject: &Subject) {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk] {
        for (optimizer, weight_decay) in
            Optimizer::samples().flat_map(|optimizer| [(optimizer, 0.0), (optimizer, 0.25)])
        {
            let noise = if sync_mode.merges_rounds() { Noise::Measure } else { Noise::RULE };
            let epoch = Epoch::of(EpochPlan {
                noise,
                optimizer,
                weight_decay,
                sync_mode,
                learning_rate: 0.125,
                clip_norm: Some(2.5),
                examples: 24,
                ..plan(0, 2, 12)
            });
            let dense = subject.run(train(subject, &epoch, |_| false));
            for (what, some) in [("all", 1), ("every second", 2), ("every third", 3)] {
                let sparse = subject.run(train(subject, &epoch, |update| update % some == 0));
                assert!(
                    sparse == dense,
                    "{optimizer:?} with decay {weight_decay}, {sync_mode:?}: {what} updates sparse give \
                     other parameters than all dense"
                );
            }
        }
    }
}

/// The next pull copies a sparse update, and the pull after it copies nothing.
pub fn a_sparse_update_is_pulled(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 1, 5);
        let store = subject.open(&epoch).await;
        let (first, last) = (0, subject.dim as u32 - 1);
        let mut replica = Replica::new();
        store.pull(0, &mut replica, 0).await.expect("pull");
        let mut expected = vec![0.0; subject.dim];
        for (position, at) in (0..).zip([first, last, last, first, last]) {
            let entries = [Entry { index: at, value: -1.0 }];
            let sparse = SparseSlice::new(subject.dim, &entries).expect("sparse");
            let update = epoch.update_with(0, position, Gradient::Sparse(sparse));
            store.push(&update).await.expect("push");
            expected[at as usize] += 1.0;
            // Some updates are pulled together.
            if position != 1 {
                let pulled = store.pull(0, &mut replica, position + 1).await.expect("pull");
                assert!(pulled.copied > 0, "something changed");
                assert_eq!(replica.values, expected, "after update {position}");
                let again = store.pull(0, &mut replica, 0).await.expect("pull again");
                assert_eq!(again.copied, 0, "nothing changed since");
            }
        }
        store.seal(0).await.expect("seal");
        let after = store.snapshot().await.expect("snapshot");
        assert_eq!(after.values, expected);
    });
}

/// Trains an epoch in which the updates selected by `is_sparse` are pushed in sparse form.
async fn train(subject: &Subject, epoch: &Epoch, is_sparse: impl Fn(u64) -> bool) -> Snapshot {
    let start: Vec<f32> = (0..subject.dim).map(|i| (i % 5) as f32 - 2.0).collect();
    let store = subject.store_at(&start).await;
    store.open(&epoch.plan).await.expect("open");
    let mut update = 0;
    for round in 0..epoch.plan.rounds(0) {
        for shard in 0..epoch.plan.shards {
            push(subject, epoch, &*store, (shard, round), update, is_sparse(update)).await;
            update += 1;
        }
    }
    store.seal(0).await.expect("seal");
    store.snapshot().await.expect("snapshot")
}

async fn push(
    subject: &Subject,
    epoch: &Epoch,
    store: &dyn ParameterStore,
    (shard, position): (u32, u64),
    number: u64,
    is_sparse: bool,
) {
    // From no entry to every entry.
    let stride = [1, 2, 7, subject.dim as u32, u32::MAX][number as usize % 5];
    let entries: Vec<Entry> = (0..subject.dim as u32)
        .filter(|index| stride < u32::MAX && (index + number as u32).is_multiple_of(stride))
        .map(|index| Entry { index, value: ((index + number as u32) % 7) as f32 * 0.5 - 1.75 })
        .collect();
    let mut dense = vec![0.0; subject.dim];
    for entry in &entries {
        dense[entry.index as usize] = entry.value;
    }
    let gradient = match is_sparse {
        true => Gradient::Sparse(SparseSlice::new(subject.dim, &entries).expect("sparse")),
        false => Gradient::Dense(&dense),
    };
    store.push(&epoch.update_with(shard, position, gradient)).await.expect("push");
}
