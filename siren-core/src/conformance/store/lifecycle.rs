//! The life of an epoch, from open to seal.

use super::{Epoch, Subject, all_equal, plan, refused};
use crate::{EpochPlan, ErrorKind, Optimizer, PushOutcome, Staleness, Watermark};

/// Opening an epoch again changes nothing, not even after pushes.
pub fn open_is_idempotent(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.open(&epoch).await;
        store.open(&epoch.plan).await.expect("open again");
        let gradient = subject.one_more();
        epoch.push(&*store, 1, 0, &gradient).await.expect("push");
        store.open(&epoch.plan).await.expect("open after a push");
        let again = epoch.push(&*store, 1, 0, &gradient).await;
        assert_eq!(again.expect("push again"), PushOutcome::Duplicate);
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.watermarks, [epoch.watermark(0, 0), epoch.watermark(1, 1)]);
    });
}

/// An invalid plan is rejected, and opens nothing.
pub fn an_unsound_plan_is_rejected(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        let good = plan(0, 2, 4);
        for bad in [
            EpochPlan { learning_rate: f32::NAN, ..good.clone() },
            EpochPlan { shards: 0, ..good.clone() },
            EpochPlan { shards: 5, ..good.clone() },
            EpochPlan { local_steps: 0, ..good.clone() },
            EpochPlan { optimizer: Optimizer::Momentum { momentum: 1.0 }, ..good.clone() },
        ] {
            refused(store.open(&bad).await, ErrorKind::Rejected, "a bad plan");
            assert_eq!(store.status().await.expect("status").open, None);
        }
        store.open(&good).await.expect("open a good plan");
    });
}

/// While an epoch is open, another plan for it is a conflict, and so is the next epoch.
pub fn another_plan_for_an_open_epoch_is_a_conflict(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.open(&epoch).await;
        let others = [
            plan(0, 1, 4),
            plan(1, 2, 4),
            EpochPlan { learning_rate: 0.5, ..epoch.plan.clone() },
            EpochPlan { run: "another".into(), ..epoch.plan.clone() },
        ];
        for other in others {
            refused(store.open(&other).await, ErrorKind::Conflict, "another open plan");
        }
        let pushed = epoch.push(&*store, 1, 0, &subject.one_more()).await;
        assert_eq!(pushed.expect("push to the first plan"), PushOutcome::Accepted);
        store.seal(0).await.expect("seal");
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, 1.0, "one update at the first plan's rate");
    });
}

/// Only the next epoch can be opened.
pub fn epochs_open_in_order(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        refused(store.open(&plan(1, 2, 4)).await, ErrorKind::Conflict, "epoch 1 before 0");
        store.open(&plan(0, 2, 4)).await.expect("open epoch 0");
        store.seal(0).await.expect("seal epoch 0");
        refused(store.open(&plan(2, 2, 4)).await, ErrorKind::Conflict, "epoch 2 before 1");
        store.open(&plan(1, 2, 4)).await.expect("open epoch 1");
    });
}

/// A sealed epoch is fenced: neither its plan nor another one opens it again.
pub fn a_sealed_epoch_does_not_open_again(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.open(&epoch).await;
        store.seal(0).await.expect("seal");
        refused(store.open(&epoch.plan).await, ErrorKind::Fenced, "the sealed plan");
        refused(store.open(&plan(0, 1, 4)).await, ErrorKind::Fenced, "a sealed epoch");
        assert_eq!(store.status().await.expect("status").open, None);
    });
}

/// Sealing the last epoch again returns the same summary.
pub fn seal_is_idempotent(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.open(&epoch).await;
        epoch.push(&*store, 1, 0, &subject.one_more()).await.expect("push");
        let first = store.seal(0).await.expect("seal");
        let before = store.snapshot().await.expect("snapshot");
        assert_eq!(store.seal(0).await.expect("seal again"), first);
        assert_eq!(store.snapshot().await.expect("snapshot"), before);
        assert_eq!(store.status().await.expect("status").sealed_epochs, 1);
    });
}

/// Sealing an epoch that is neither open nor the last one sealed is a conflict.
pub fn only_an_open_epoch_can_be_sealed(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        refused(store.seal(0).await, ErrorKind::Conflict, "sealing before open");
        store.open(&plan(0, 2, 4)).await.expect("open epoch 0");
        refused(store.seal(1).await, ErrorKind::Conflict, "sealing a later epoch");
        store.seal(0).await.expect("seal epoch 0");
        refused(store.seal(1).await, ErrorKind::Conflict, "sealing the next epoch");
        store.open(&plan(1, 2, 4)).await.expect("open epoch 1");
        store.seal(1).await.expect("seal epoch 1");
        refused(store.seal(0).await, ErrorKind::Conflict, "sealing an old epoch");
    });
}

/// The summary has every shard's batches, examples and sum of losses, and their mean. The version
/// counts updates over all epochs.
pub fn the_seal_reports_what_was_pushed(subject: &Subject) {
    subject.run(async {
        let steps = 2;
        let epoch = Epoch::of(EpochPlan { local_steps: steps, ..plan(0, 3, 14) });
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        // Three updates for all five batches of the last shard, two of the second shard, and one of
        // the first.
        for (shard, updates) in [(2, 3), (1, 2), (0, 1)] {
            for update in 0..updates {
                let pushed = epoch.push(&*store, shard, update * steps, &gradient).await;
                assert_eq!(pushed.expect("push"), PushOutcome::Accepted);
            }
        }
        let expected: Vec<Watermark> = [2, 4, 5]
            .into_iter()
            .zip(0..)
            .map(|(batches, shard)| epoch.watermark(shard, batches))
            .collect();
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.epoch, 0);
        assert_eq!(sealed.version, 6);
        assert_eq!(sealed.watermarks, expected);
        let examples: u64 = expected.iter().map(|w| w.examples).sum();
        let losses: f64 = expected.iter().map(|w| w.loss).sum();
        assert_eq!(sealed.mean_loss(), losses / examples as f64);
        let next = Epoch::new(1, 2, 4);
        let sealed = next.train(&*store, |_| subject.one_more()).await;
        assert_eq!((sealed.epoch, sealed.version, sealed.batches()), (1, 6 + 4, 4));
    });
}

/// An epoch without pushes can be sealed, and changes nothing.
pub fn an_epoch_without_updates_changes_nothing(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.open(&epoch).await;
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.version, 0);
        assert_eq!(sealed.watermarks, [Watermark::default(); 2]);
        assert_eq!(sealed.staleness, Staleness::default());
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, 0.0, "no shard has pushed");
        assert_eq!((after.sealed_epochs, after.version), (1, 0));
    });
}

/// The status has the number of sealed epochs, the version at a barrier, and the watermarks while
/// an epoch is open.
pub fn status_follows_the_life_of_an_epoch(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.store().await;
        let status = store.status().await.expect("status of a new store");
        assert_eq!((status.sealed_epochs, status.version, status.open), (0, 0, None));
        store.open(&epoch.plan).await.expect("open");
        let status = store.status().await.expect("status while open");
        assert_eq!(status.sealed_epochs, 0);
        assert_eq!(status.open, Some(vec![Watermark::default(); 2]));
        epoch.push(&*store, 1, 0, &subject.one_more()).await.expect("push");
        let status = store.status().await.expect("status after a push");
        let watermarks = vec![epoch.watermark(0, 0), epoch.watermark(1, 1)];
        assert_eq!(status.open, Some(watermarks));
        store.seal(0).await.expect("seal");
        let status = store.status().await.expect("status after the seal");
        assert_eq!((status.sealed_epochs, status.version, status.open), (1, 1, None));
    });
}
