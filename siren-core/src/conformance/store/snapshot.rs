//! The state between two epochs.

use super::{Epoch, Subject, all_equal, plan, refused};
use crate::{EpochPlan, ErrorKind, Optimizer, ParameterStore, PushOutcome, Snapshot};

/// A snapshot that is restored into the same store or another one is then the snapshot of that
/// store. Training continues from it with the same bits.
pub fn snapshot_and_restore_round_trip(subject: &Subject) {
    for optimizer in Optimizer::samples() {
        subject.run(async {
            let store = subject.store().await;
            train(subject, &*store, optimizer, 0).await;
            train(subject, &*store, optimizer, 1).await;
            let taken = store.snapshot().await.expect("snapshot");
            assert_eq!((taken.sealed_epochs, taken.version), (2, 8), "{optimizer:?}");
            assert_eq!(taken.optimizer_state.len(), optimizer.state_vectors(), "{optimizer:?}");
            assert_eq!(taken.values.len(), subject.dim);
            taken.check().expect("a store's snapshot is sound");
            let went_on = train(subject, &*store, optimizer, 2).await;

            let another = subject.store().await;
            for store in [&another, &store] {
                store.restore(&taken).await.expect("restore");
                let restored = store.snapshot().await.expect("snapshot");
                assert_eq!(restored, taken, "{optimizer:?}");
                let status = store.status().await.expect("status");
                assert_eq!((status.sealed_epochs, status.version, status.open), (2, 8, None));
                assert_eq!(train(subject, &**store, optimizer, 2).await, went_on, "{optimizer:?}");
            }
        });
    }
}

/// A snapshot while an epoch is open is a conflict.
pub fn a_snapshot_of_an_open_epoch_is_a_conflict(subject: &Subject) {
    subject.run(async {
        let store = subject.open(&Epoch::new(0, 2, 4)).await;
        refused(store.snapshot().await, ErrorKind::Conflict, "a snapshot while open");
        store.seal(0).await.expect("seal");
        store.snapshot().await.expect("a snapshot after the seal");
    });
}

/// Restoring a snapshot of another length is rejected, and restoring one that is not finite fails
/// as diverged. The store does not change, neither between epochs nor while one is open.
pub fn a_refused_restore_leaves_the_store_as_it_was(subject: &Subject) {
    subject.run(async {
        let dim = subject.dim;
        let store = subject.store().await;
        train(subject, &*store, Optimizer::Sgd, 0).await;
        let before = store.snapshot().await.expect("snapshot");
        let with_slot = |length, entry| Snapshot {
            optimizer_state: vec![vec![entry; length]],
            ..Snapshot::initial(vec![0.0; dim])
        };
        let mut poisoned = vec![0.0; dim];
        poisoned[dim - 1] = f32::NAN;
        let bad = [
            (ErrorKind::Rejected, Snapshot::initial(vec![0.0; dim - 1])),
            (ErrorKind::Rejected, Snapshot::initial(vec![0.0; dim + 1])),
            (ErrorKind::Rejected, Snapshot::initial(vec![])),
            (ErrorKind::Rejected, with_slot(dim - 1, 0.0)),
            (ErrorKind::Diverged, Snapshot::initial(poisoned)),
            (ErrorKind::Diverged, with_slot(dim, f32::INFINITY)),
        ];
        for (kind, snapshot) in &bad {
            refused(store.restore(snapshot).await, *kind, "a bad snapshot");
            assert_eq!(store.snapshot().await.expect("snapshot"), before);
        }

        let epoch = Epoch::new(1, 2, 4);
        store.open(&epoch.plan).await.expect("open");
        let gradient = subject.one_more();
        epoch.push(&*store, 0, 0, &gradient).await.expect("push");
        for (kind, snapshot) in &bad {
            refused(store.restore(snapshot).await, *kind, "a bad snapshot");
        }
        let again = epoch.push(&*store, 0, 0, &gradient).await;
        assert_eq!(again.expect("the epoch is still open"), PushOutcome::Duplicate);
    });
}

/// Restoring drops an open epoch: its workers' pushes are refused until it is opened again. It then
/// starts without updates.
pub fn a_restore_drops_the_open_epoch(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        epoch.push(&*store, 0, 0, &gradient).await.expect("push");
        let snapshot = Snapshot::initial(vec![5.0; subject.dim]);
        store.restore(&snapshot).await.expect("restore");
        let status = store.status().await.expect("status");
        assert_eq!(status.open, None);
        let orphan = epoch.push(&*store, 0, 1, &gradient).await;
        refused(orphan, ErrorKind::Conflict, "a push to a dropped epoch");
        let restored = store.snapshot().await.expect("snapshot");
        assert_eq!(restored, snapshot);

        store.open(&epoch.plan).await.expect("open again");
        let pushed = epoch.push(&*store, 0, 0, &gradient).await;
        assert_eq!(pushed.expect("push"), PushOutcome::Accepted);
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!((sealed.version, sealed.batches()), (1, 1));
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, 6.0, "one update of what was restored");
    });
}

/// Trains an epoch of four updates whose numbers need rounding.
async fn train(
    subject: &Subject,
    store: &dyn ParameterStore,
    optimizer: Optimizer,
    epoch: u64,
) -> Snapshot {
    let epoch = Epoch::of(EpochPlan {
        optimizer,
        learning_rate: 0.1,
        weight_decay: 0.01,
        clip_norm: Some(0.7),
        ..plan(epoch, 2, 4)
    });
    let gradient = |update| {
        (0..subject.dim).map(|i| ((i as u64 + 5 * update) % 11) as f32 / 7.0 - 0.6).collect()
    };
    epoch.train(store, gradient).await;
    store.snapshot().await.expect("snapshot")
}
