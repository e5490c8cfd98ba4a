//! Pushed updates: acceptance and counting.

use super::{Epoch, Subject, all_equal, plan, refused};
use crate::{
    Entry, EpochPlan, ErrorKind, Gradient, ParameterStore, PushOutcome, Replica, SparseSlice,
    Update, UpdateId,
};

/// Pushing an update again changes nothing and returns that it is a duplicate.
pub fn push_is_idempotent(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 6);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        for position in 0..3 {
            let first = epoch.push(&*store, 1, position, &gradient).await;
            assert_eq!(first.expect("push"), PushOutcome::Accepted);
            for earlier in 0..=position {
                let again = epoch.push(&*store, 1, earlier, &gradient).await;
                assert_eq!(again.expect("push again"), PushOutcome::Duplicate);
            }
        }
        sealed_with(&*store, &epoch, &[0, 3]).await;
    });
}

/// An update that skips its predecessor is a conflict and changes nothing.
pub fn an_update_above_the_watermark_is_a_conflict(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 6);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        for position in [1, 2] {
            let above = epoch.push(&*store, 0, position, &gradient).await;
            refused(above, ErrorKind::Conflict, "an update above the watermark");
        }
        epoch.push(&*store, 0, 0, &gradient).await.expect("push");
        let above = epoch.push(&*store, 0, 2, &gradient).await;
        refused(above, ErrorKind::Conflict, "an update above the watermark");
        sealed_with(&*store, &epoch, &[1, 0]).await;
    });
}

/// After the seal a push is fenced, for new updates and for duplicates. It does not change the
/// sealed parameters, also while the next epoch is open.
pub fn a_late_push_never_changes_sealed_parameters(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 6);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        epoch.push(&*store, 0, 0, &gradient).await.expect("push");
        let sealed = store.seal(0).await.expect("seal");
        let before = store.snapshot().await.expect("snapshot");
        for (shard, position) in [(0, 1), (1, 0), (0, 0)] {
            let late = epoch.push(&*store, shard, position, &gradient).await;
            refused(late, ErrorKind::Fenced, "a late push");
        }
        assert_eq!(store.snapshot().await.expect("snapshot"), before);
        assert_eq!(store.seal(0).await.expect("seal again"), sealed);

        let next = Epoch::new(1, 2, 6);
        store.open(&next.plan).await.expect("open the next epoch");
        let late = epoch.push(&*store, 0, 1, &gradient).await;
        refused(late, ErrorKind::Fenced, "a push to the epoch before");
        let empty = store.seal(1).await.expect("seal the next epoch");
        assert_eq!((empty.version, empty.batches()), (1, 0));
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, 1.0, "one update in time");
    });
}

/// A push to an epoch that was never opened is a conflict.
pub fn a_push_to_an_epoch_that_is_not_open_is_a_conflict(subject: &Subject) {
    subject.run(async {
        let (first, second) = (Epoch::new(0, 2, 6), Epoch::new(1, 2, 6));
        let store = subject.store().await;
        let gradient = subject.one_more();
        for early in [&first, &second] {
            let early = early.push(&*store, 0, 0, &gradient).await;
            refused(early, ErrorKind::Conflict, "a push before open");
        }
        store.open(&first.plan).await.expect("open");
        let early = second.push(&*store, 0, 0, &gradient).await;
        refused(early, ErrorKind::Conflict, "a push to the next epoch");
        sealed_with(&*store, &first, &[0, 0]).await;
    });
}

/// A new attempt at a shard continues at its watermark. One that starts before the watermark pushes
/// duplicates until it reaches it. Every batch of both workers together counts once.
pub fn a_shard_resumed_elsewhere_counts_every_batch_once(subject: &Subject) {
    subject.run(async {
        let steps = 2;
        let epoch = Epoch::of(EpochPlan { local_steps: steps, ..plan(0, 2, 18) });
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        for position in [0, 2, 4] {
            epoch.push(&*store, 1, position, &gradient).await.expect("push");
        }
        let status = store.status().await.expect("status");
        assert_eq!(status.open.expect("the epoch is open")[1].batches, 3 * steps);
        // The second attempt does not know of the last push, and the first one still runs.
        for (position, push_outcome) in [
            (4, PushOutcome::Duplicate),
            (6, PushOutcome::Accepted),
            (6, PushOutcome::Duplicate),
            (8, PushOutcome::Accepted),
        ] {
            let pushed = epoch.push(&*store, 1, position, &gradient).await;
            assert_eq!(pushed.expect("push"), push_outcome, "at position {position}");
        }
        sealed_with(&*store, &epoch, &[0, 9]).await;
    });
}

/// A loss or norm that is not finite is refused as diverged, and changes nothing.
pub fn an_update_that_is_not_finite_changes_nothing(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::of(EpochPlan { clip_norm: Some(1e6), ..plan(0, 2, 6) });
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        let mut poisoned = gradient.clone();
        poisoned[subject.dim - 1] = f32::NAN;
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let good = epoch.update(0, 0, &gradient);
            for bad in [
                Update { loss: number, ..good },
                Update { squared_norm: number, ..good },
                Update { squared_norm: number, gradient: Gradient::Dense(&poisoned), ..good },
            ] {
                refused(store.push(&bad).await, ErrorKind::Diverged, "a number that is not finite");
            }
        }
        epoch.push(&*store, 0, 0, &gradient).await.expect("the good push");
        sealed_with(&*store, &epoch, &[1, 0]).await;
    });
}

/// An update with another length, an unknown shard, a position between two updates, or a wrong
/// number of batches is rejected and changes nothing.
pub fn an_update_that_does_not_fit_changes_nothing(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::of(EpochPlan { local_steps: 2, ..plan(0, 2, 10) });
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        let long = [gradient.clone(), vec![1.0]].concat();
        let good = epoch.update(0, 0, &gradient);
        let at = |shard, position| UpdateId { shard, position, ..good.id };
        let short = &gradient[1..];
        let one = [Entry { index: 0, value: 1.0 }];
        let sparse = |dim| SparseSlice::new(dim, &one).map(Gradient::Sparse).expect("sparse");
        for (what, bad) in [
            ("a short gradient", Update { gradient: Gradient::Dense(short), ..good }),
            ("a long gradient", Update { gradient: Gradient::Dense(&long), ..good }),
            ("an empty gradient", Update { gradient: Gradient::Dense(&[]), ..good }),
            ("a sparse one too short", Update { gradient: sparse(subject.dim - 1), ..good }),
            ("a sparse one too long", Update { gradient: sparse(subject.dim + 1), ..good }),
            ("an unknown shard", Update { id: at(2, 0), ..good }),
            ("an unknown shard", Update { id: at(u32::MAX, 0), ..good }),
            ("a position between two updates", Update { id: at(0, 1), ..good }),
            ("too few batches", Update { batches: 1, ..good }),
            ("too many batches", Update { batches: 3, ..good }),
            ("no batches", Update { batches: 0, ..good }),
            ("no examples", Update { examples: 0, ..good }),
            ("more examples than its batches hold", Update { examples: 5, ..good }),
            ("very many examples", Update { examples: u64::MAX, ..good }),
        ] {
            refused(store.push(&bad).await, ErrorKind::Rejected, what);
        }
        for position in [0, 2, 4] {
            epoch.push(&*store, 0, position, &gradient).await.expect("push");
        }
        let past_the_end = Update { id: at(0, 6), ..good };
        store.push(&past_the_end).await.expect_err("an update past the end");
        sealed_with(&*store, &epoch, &[5, 0]).await;
    });
}

/// An update's staleness is the number of updates applied since the version at which it was
/// computed. The summary has the mean and the maximum.
pub fn staleness_is_counted_in_updates(subject: &Subject) {
    if !subject.knows_staleness {
        return;
    }
    subject.run(async {
        let store = subject.store().await;
        let gradient = subject.one_more();
        for number in 0..2 {
            let epoch = Epoch::new(number, 2, 6);
            store.open(&epoch.plan).await.expect("open");
            let mut replica = Replica::new();
            let first = store.pull(number, &mut replica, 0).await.expect("pull");
            let old = |shard, position, version| Update {
                version,
                ..epoch.update(shard, position, &gradient)
            };
            // Three updates computed at the first version, with a staleness of 0, 1 and 2, then a
            // current one.
            for (shard, position) in [(0, 0), (1, 0), (0, 1)] {
                store.push(&old(shard, position, first.version)).await.expect("push");
            }
            let then = store.pull(number, &mut replica, 0).await.expect("pull");
            assert_eq!(then.version, first.version + 3, "after three updates");
            store.push(&old(1, 1, then.version)).await.expect("push");
            // A duplicate does not count.
            store.push(&old(1, 1, first.version)).await.expect("push");
            let staleness = store.seal(number).await.expect("seal").staleness;
            assert_eq!((staleness.mean, staleness.max), (0.75, 2));
        }
    });
}

/// Seals the first epoch, in which this number of batches must count for each shard. Each update
/// adds one.
async fn sealed_with(store: &dyn ParameterStore, epoch: &Epoch, batches: &[u64]) {
    let sealed = store.seal(epoch.plan.epoch).await.expect("seal");
    let expected: Vec<_> =
        (0..).zip(batches).map(|(shard, &batches)| epoch.watermark(shard, batches)).collect();
    assert_eq!(sealed.watermarks, expected);
    let updates: u64 = batches.iter().map(|&b| epoch.plan.updates(b)).sum();
    assert_eq!(sealed.version, updates);
    let after = store.snapshot().await.expect("snapshot");
    all_equal(&after.values, updates as f32, "the updates that the seal reports");
}
