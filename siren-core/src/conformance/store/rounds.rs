//! Rounds: bulk and stale mode.

use futures::future::join;

use super::optimizer::three_and_four;
use super::{Epoch, Subject, all_equal, plan, refused};
use crate::conformance::drive::stays_pending;
use crate::{
    EpochPlan, ErrorKind, Optimizer, ParameterStore, PushOutcome, Replica, Snapshot, SyncMode,
};

/// An epoch of bulk mode. Every batch has two examples.
fn bulk(shards: u32, batches: u64) -> Epoch {
    Epoch::of(EpochPlan {
        examples: 2 * batches,
        sync_mode: SyncMode::Bulk,
        ..plan(0, shards, batches)
    })
}

/// Pulls from an epoch without waiting.
async fn pull_now(store: &dyn ParameterStore) -> (Vec<f32>, u64) {
    let mut replica = Replica::new();
    let pulled = store.pull(0, &mut replica, 0).await.expect("pull");
    (replica.values, pulled.version)
}

/// Under bulk mode no update is applied before every shard has pushed its update of the round. Then
/// their mean is applied, and a pull that waits for the round sees it.
pub fn a_round_of_bulk_is_applied_as_its_mean_when_all_have_pushed(subject: &Subject) {
    subject.run(async {
        let epoch = bulk(3, 6);
        let store = subject.open(&epoch).await;
        let gradient = |add: f32| vec![-add; subject.dim];
        for round in 0..2 {
            for (shard, add) in [(2, 1.0), (0, 2.0)] {
                epoch.push(&*store, shard, round, &gradient(add)).await.expect("push");
                let again = epoch.push(&*store, shard, round, &gradient(add)).await;
                assert_eq!(again.expect("push again"), PushOutcome::Duplicate);
            }
            let (values, version) = pull_now(&*store).await;
            all_equal(&values, 2.0 * round as f32, "a round that is not complete");
            assert_eq!(version, round);
            let mut replica = Replica::new();
            let mut pull = store.pull(0, &mut replica, round + 1);
            assert!(stays_pending(&mut pull).await, "the round is not complete");
            let last = gradient(3.0);
            let (pulled, pushed) = join(pull, epoch.push(&*store, 1, round, &last)).await;
            assert_eq!(pushed.expect("push"), PushOutcome::Accepted);
            assert_eq!(pulled.expect("the round is complete").version, round + 1);
            all_equal(&replica.values, 2.0 * (round + 1) as f32, "the mean of each round");
        }
        let sealed = store.seal(0).await.expect("seal");
        let all: Vec<_> = (0..3).map(|shard| epoch.watermark(shard, 2)).collect();
        assert_eq!((sealed.version, sealed.watermarks), (2, all));
        if subject.knows_staleness {
            assert_eq!(
                sealed.staleness.max, 1,
                "an update of the second round was computed at version 0"
            );
        }
    });
}

/// A batch of half the length has half the weight, so that the mean is over all examples.
pub fn bulk_weighs_updates_by_their_examples(subject: &Subject) {
    subject.run(async {
        let short = EpochPlan { examples: 3, ..bulk(2, 2).plan };
        let epoch = Epoch::of(short);
        let store = subject.open(&epoch).await;
        let mut mean = 0.0;
        for (shard, add) in [(0, 3.0), (1, 6.0)] {
            epoch.push(&*store, shard, 0, &vec![-add; subject.dim]).await.expect("push");
            mean += add * epoch.watermark(shard, 1).examples as f32 / 3.0;
        }
        let (values, _) = pull_now(&*store).await;
        for value in values {
            assert!((value - mean).abs() < 1e-5, "{value} is not the mean over examples, {mean}");
        }
    });
}

/// Each update is clipped by its own norm, before the mean is taken.
pub fn bulk_clips_each_update(subject: &Subject) {
    subject.run(async {
        let clipped = EpochPlan { clip_norm: Some(2.5), ..bulk(2, 2).plan };
        let epoch = Epoch::of(clipped);
        let store = subject.open(&epoch).await;
        // Norms of 5 and of 1.25.
        let long = three_and_four(subject.dim, 0);
        let short: Vec<f32> = long.iter().map(|g| g / 4.0).collect();
        epoch.push(&*store, 0, 0, &long).await.expect("push");
        epoch.push(&*store, 1, 0, &short).await.expect("push");
        let (values, _) = pull_now(&*store).await;
        let expected: Vec<f32> = long.iter().map(|g| -(g / 2.0 + g / 4.0) / 2.0).collect();
        assert_eq!(values, expected);
    });
}

/// A round advances velocity, moments, decay and version once, as a single worker that pushes the
/// mean.
pub fn a_round_of_bulk_is_one_update_of_the_rule(subject: &Subject) {
    for optimizer in Optimizer::samples() {
        let of = |epoch: Epoch| {
            Epoch::of(EpochPlan {
                optimizer,
                learning_rate: 0.125,
                weight_decay: 0.25,
                ..epoch.plan
            })
        };
        // Whole numbers, so that means are exact.
        let gradient = |update: u64| -> Vec<f32> {
            (0..subject.dim as u64).map(|i| ((i + 3 * update) % 7) as f32 * 4.0 - 8.0).collect()
        };
        let mean = |round: u64| {
            let four = [0, 1, 2, 3].map(|shard| gradient(4 * round + shard));
            (0..subject.dim).map(|i| four.iter().map(|g| g[i]).sum::<f32>() / 4.0).collect()
        };
        let (together, alone) = subject.run(async {
            let store = subject.store().await;
            of(bulk(4, 12)).train(&*store, gradient).await;
            let alone = subject.store().await;
            let hybrid = EpochPlan { sync_mode: SyncMode::Hybrid, ..of(bulk(1, 3)).plan };
            Epoch::of(hybrid).train(&*alone, mean).await;
            (store.snapshot().await.expect("snapshot"), alone.snapshot().await.expect("snapshot"))
        });
        assert_eq!(together.version, 3, "rounds");
        assert_eq!(together, alone, "{optimizer:?}");
    }
}

/// Under bulk mode an update that is pushed before its round begins is a conflict and changes
/// nothing.
pub fn an_update_of_a_later_round_is_a_conflict(subject: &Subject) {
    subject.run(async {
        let epoch = bulk(2, 6);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        epoch.push(&*store, 0, 0, &gradient).await.expect("push");
        let early = epoch.push(&*store, 0, 1, &gradient).await;
        refused(early, ErrorKind::Conflict, "an update of the second round");
        epoch.push(&*store, 1, 0, &gradient).await.expect("push");
        epoch.push(&*store, 0, 1, &gradient).await.expect("push in the second round");
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.watermarks, [epoch.watermark(0, 2), epoch.watermark(1, 1)]);
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, 2.0, "two rounds");
    });
}

/// A finished shard has no part in the remaining rounds.
pub fn a_finished_shard_leaves_the_rounds_to_the_others(subject: &Subject) {
    subject.run(async {
        // Shards of one, two and two batches.
        let epoch = bulk(3, 5);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        for (shard, position) in [(1, 0), (0, 0), (2, 0), (2, 1)] {
            epoch.push(&*store, shard, position, &gradient).await.expect("push");
        }
        let (values, _) = pull_now(&*store).await;
        all_equal(&values, 1.0, "a round that lacks one of two");
        epoch.push(&*store, 1, 1, &gradient).await.expect("push");
        let mut replica = Replica::new();
        let pulled = store.pull(0, &mut replica, u64::MAX).await.expect("all shards are done");
        assert_eq!(pulled.version, 2);
        all_equal(&replica.values, 2.0, "two rounds");
    });
}

/// The updates of an incomplete round count when the epoch is sealed.
pub fn a_seal_applies_a_round_that_is_not_complete(subject: &Subject) {
    subject.run(async {
        let epoch = bulk(4, 8);
        let store = subject.open(&epoch).await;
        for (shard, add) in [(3, 2.0), (1, 4.0)] {
            epoch.push(&*store, shard, 0, &vec![-add; subject.dim]).await.expect("push");
        }
        let sealed = store.seal(0).await.expect("seal");
        let counted = [0, 1, 0, 1];
        let expected: Vec<_> = (0..).zip(counted).map(|(s, n)| epoch.watermark(s, n)).collect();
        assert_eq!((sealed.version, sealed.watermarks), (1, expected));
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, 3.0, "the mean of the two updates");
    });
}

/// A restore drops the updates that were kept for a round.
pub fn a_restore_drops_the_open_round(subject: &Subject) {
    subject.run(async {
        let epoch = bulk(2, 4);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        epoch.push(&*store, 0, 0, &gradient).await.expect("push");
        store.restore(&Snapshot::initial(vec![5.0; subject.dim])).await.expect("restore");
        store.open(&epoch.plan).await.expect("open again");
        for shard in [1, 0] {
            let (values, _) = pull_now(&*store).await;
            all_equal(&values, 5.0, "a round that is not complete");
            let pushed = epoch.push(&*store, shard, 0, &gradient).await;
            assert_eq!(pushed.expect("push"), PushOutcome::Accepted);
        }
        let (values, _) = pull_now(&*store).await;
        all_equal(&values, 6.0, "one round of what was restored");
    });
}

/// Other workers wait for a worker that dies during a round, according to the sync mode, until
/// another attempt at its shard continues from the watermark. Every update counts once.
pub fn a_dead_worker_holds_up_the_others_until_its_shard_is_tried_again(subject: &Subject) {
    for (sync_mode, ahead) in [(SyncMode::Bulk, 1), (SyncMode::Stale { bound: 2 }, 3)] {
        subject.run(async {
            let epoch = Epoch::of(EpochPlan { sync_mode, ..bulk(2, 10).plan });
            let store = subject.open(&epoch).await;
            let gradient = subject.one_more();
            let mut replica = Replica::new();
            // The second shard's worker dies after its first update.
            epoch.push(&*store, 1, 0, &gradient).await.expect("push");
            for round in 0..=ahead {
                let pull = store.pull(0, &mut replica, sync_mode.progress(round));
                pull.await.expect("not too far ahead yet");
                epoch.push(&*store, 0, round, &gradient).await.expect("push");
            }
            let mut pull = store.pull(0, &mut replica, sync_mode.progress(ahead + 1));
            assert!(stays_pending(&mut pull).await, "{sync_mode:?} waits for the dead worker");

            let status = store.status().await.expect("status");
            assert_eq!(status.open.expect("the epoch is open")[1].batches, 1);
            let again = async {
                // It does not know of the first update.
                let duplicate = epoch.push(&*store, 1, 0, &gradient).await;
                assert_eq!(duplicate.expect("push"), PushOutcome::Duplicate);
                epoch.push(&*store, 1, 1, &gradient).await.expect("push");
            };
            let (pulled, ()) = join(pull, again).await;
            pulled.expect("the shard continues");
            for round in 2..5 {
                epoch.push(&*store, 1, round, &gradient).await.expect("the shard catches up");
                if round > ahead {
                    epoch.push(&*store, 0, round, &gradient).await.expect("push");
                }
            }
            let sealed = store.seal(0).await.expect("seal");
            assert_eq!(sealed.watermarks, [epoch.watermark(0, 5), epoch.watermark(1, 5)]);
            let after = store.snapshot().await.expect("snapshot");
            all_equal(&after.values, sealed.version as f32, "every update counts once");
        });
    }
}
