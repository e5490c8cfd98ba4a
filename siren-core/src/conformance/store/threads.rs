//! Simultaneous workers.
//!
//! All numbers are integers below 2^24, so that a sum of updates is exact in every order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Epoch, Subject, all_equal};
use crate::conformance::fact::on_threads;
use crate::{EpochPlan, ErrorKind, PushOutcome, Replica, SyncMode, Update};

const THREADS: usize = 8;

/// Eight threads pull and push for their own shards, and every push counts once.
pub fn eight_threads_lose_no_push(subject: &Subject) {
    let epoch = Epoch::new(0, THREADS as u32, THREADS as u64 * subject.pushes);
    let store = subject.run(subject.open(&epoch));
    on_threads(THREADS, |shard| {
        subject.run(async {
            let gradient = subject.one_more();
            let mut replica = Replica::new();
            for position in 0..subject.pushes {
                let pulled = store.pull(0, &mut replica, 0).await.expect("pull");
                let update = Update {
                    version: pulled.version,
                    ..epoch.update(shard as u32, position, &gradient)
                };
                let push_outcome = store.push(&update).await.expect("push");
                assert_eq!(push_outcome, PushOutcome::Accepted);
            }
        });
    });
    subject.run(async {
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.version, epoch.plan.batches());
        for (shard, &watermark) in (0..).zip(&sealed.watermarks) {
            assert_eq!(watermark, epoch.watermark(shard, subject.pushes));
        }
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, epoch.plan.batches() as f32, "the number of pushes");
    });
}

/// Eight attempts at one shard, all at the same time, count every update once.
pub fn threads_that_push_the_same_update_count_it_once(subject: &Subject) {
    let pushes = subject.pushes.div_ceil(10);
    let epoch = Epoch::new(0, 1, pushes);
    let store = subject.run(subject.open(&epoch));
    let accepted = AtomicU64::new(0);
    on_threads(THREADS, |_| {
        subject.run(async {
            let gradient = subject.one_more();
            for position in 0..pushes {
                let push_outcome = epoch.push(&*store, 0, position, &gradient).await;
                if push_outcome.expect("push") == PushOutcome::Accepted {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    });
    assert_eq!(accepted.into_inner(), pushes, "updates accepted");
    subject.run(async {
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.watermarks, [epoch.watermark(0, pushes)]);
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, pushes as f32, "the number of updates");
    });
}

/// A pull during pushes never copies a part of an update in a block. The replica's values never go
/// back, and hold at least the updates of its version.
pub fn a_pull_among_pushes_is_atomic_per_block(subject: &Subject) {
    // Pushes continue for a while, until the pulls have ended.
    let most = 4 * subject.pushes;
    let epoch = Epoch::new(0, 2, 2 * most);
    let store = subject.run(subject.open(&epoch));
    let pushing = AtomicU64::new(2);
    let pulls = AtomicU64::new(0);
    on_threads(4, |thread| {
        subject.run(async {
            if thread < 2 {
                let gradient = subject.one_more();
                for position in 0..most {
                    if pulls.load(Ordering::Relaxed) > subject.pushes / 10 {
                        break;
                    }
                    let pushed = epoch.push(&*store, thread as u32, position, &gradient);
                    pushed.await.expect("push");
                    std::thread::yield_now();
                }
                pushing.fetch_sub(1, Ordering::Release);
                return;
            }
            let mut replica = Replica::new();
            let mut before = vec![0.0; subject.dim];
            // The borders between blocks seen so far.
            let mut borders = BTreeSet::new();
            while pushing.load(Ordering::Acquire) > 0 {
                let pulled = store.pull(0, &mut replica, 0).await.expect("pull");
                let values = &replica.values;
                let cuts = (1..values.len()).filter(|&i| values[i - 1] != values[i]);
                borders.extend(cuts);
                let blocks = replica.versions.len();
                assert!(
                    borders.len() < blocks,
                    "in {blocks} blocks, parameters differ from one to the next at {borders:?}"
                );
                for (now, before) in values.iter().zip(&before) {
                    assert!(before <= now, "a parameter went back");
                    assert!(
                        pulled.version as f32 <= *now,
                        "version {}, but a block holds {now} updates",
                        pulled.version
                    );
                }
                before.copy_from_slice(values);
                if pulled.copied > 0 {
                    pulls.fetch_add(1, Ordering::Relaxed);
                } else {
                    std::thread::yield_now();
                }
            }
        });
    });
}

/// The summary of a seal during pushes contains exactly the updates that count: the parameters hold
/// these updates and no later ones.
pub fn a_seal_among_pushes_reports_exactly_what_counted(subject: &Subject) {
    let epoch = Epoch::new(0, THREADS as u32, THREADS as u64 * subject.pushes);
    let store = subject.run(subject.open(&epoch));
    let pushed = AtomicU64::new(0);
    let is_sealed = AtomicBool::new(false);
    on_threads(THREADS + 1, |thread| {
        if thread == THREADS {
            while pushed.load(Ordering::Relaxed) < subject.pushes - 1 {
                std::thread::yield_now();
            }
            subject.run(async {
                let sealed = store.seal(0).await;
                is_sealed.store(true, Ordering::Release);
                let sealed = sealed.expect("seal");
                let after = store.snapshot().await.expect("snapshot");
                for (shard, &watermark) in (0..).zip(&sealed.watermarks) {
                    assert_eq!(watermark, epoch.watermark(shard, watermark.batches));
                }
                assert_eq!(sealed.version, sealed.batches());
                assert_eq!(after.version, sealed.version);
                all_equal(
                    &after.values,
                    sealed.version as f32,
                    "the updates that the seal reports",
                );
            });
            return;
        }
        subject.run(async {
            let gradient = subject.one_more();
            for position in 0..subject.pushes {
                // The last push is late in any case.
                while position == subject.pushes - 1 && !is_sealed.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                match epoch.push(&*store, thread as u32, position, &gradient).await {
                    Ok(_) => _ = pushed.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Fenced, "{}", error.chain());
                        break;
                    }
                }
            }
        });
    });
    subject.run(async {
        let sealed = store.seal(0).await.expect("seal again");
        let after = store.snapshot().await.expect("snapshot");
        all_equal(
            &after.values,
            sealed.version as f32,
            "the updates that the seal reports, after the last push",
        );
    });
}

/// With eight threads in bulk mode, each pull gets exactly the completed rounds.
pub fn threads_in_bulk_see_every_round_whole(subject: &Subject) {
    let rounds = subject.pushes.div_ceil(5);
    let batches = THREADS as u64 * rounds;
    let epoch = Epoch::of(EpochPlan {
        sync_mode: SyncMode::Bulk,
        ..Epoch::new(0, THREADS as u32, batches).plan
    });
    let store = subject.run(subject.open(&epoch));
    on_threads(THREADS, |shard| {
        subject.run(async {
            let gradient = subject.one_more();
            let mut replica = Replica::new();
            for round in 0..rounds {
                let progress = epoch.plan.sync_mode.progress(round);
                let pulled = store.pull(0, &mut replica, progress).await.expect("pull");
                assert_eq!(pulled.version, round);
                all_equal(&replica.values, round as f32, "the rounds that are over");
                let push_outcome = epoch.push(&*store, shard as u32, round, &gradient).await;
                assert_eq!(push_outcome.expect("push"), PushOutcome::Accepted);
            }
        });
    });
    subject.run(async {
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!((sealed.version, sealed.batches()), (rounds, batches));
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, rounds as f32, "all rounds");
    });
}

/// The summary of a seal during rounds of bulk mode contains exactly the updates that count. The
/// parameters hold each round with a counted update once.
pub fn a_seal_among_rounds_reports_exactly_what_counted(subject: &Subject) {
    // A later seal comes at a later point of a round.
    let tries = subject.pushes.div_ceil(50).min(20);
    for late in (0..tries).map(|number| 100 * number / tries) {
        let rounds = 40;
        let epoch = Epoch::of(EpochPlan {
            sync_mode: SyncMode::Bulk,
            ..Epoch::new(0, THREADS as u32, THREADS as u64 * rounds).plan
        });
        let store = subject.run(subject.open(&epoch));
        let pushed = AtomicU64::new(0);
        on_threads(THREADS + 1, |thread| {
            if thread == THREADS {
                while pushed.load(Ordering::Relaxed) < late {
                    std::thread::yield_now();
                }
                subject.run(store.seal(0)).expect("seal");
                return;
            }
            subject.run(async {
                let gradient = subject.one_more();
                let mut replica = Replica::new();
                for round in 0..rounds {
                    let pulled = store.pull(0, &mut replica, round).await.map(drop);
                    let done = match pulled {
                        Ok(()) => epoch.push(&*store, thread as u32, round, &gradient).await,
                        Err(error) => Err(error),
                    };
                    match done {
                        Ok(_) => _ = pushed.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Fenced, "{}", error.chain());
                            break;
                        }
                    }
                }
            });
        });
        subject.run(async {
            let sealed = store.seal(0).await.expect("seal again");
            let counted = sealed.watermarks.iter().map(|mark| mark.batches);
            let (most, least) = (counted.clone().max(), counted.min());
            assert_eq!(most, Some(sealed.version), "the rounds of all shards");
            assert!(least >= most.map(|most| most.saturating_sub(1)), "two rounds at once");
            let after = store.snapshot().await.expect("snapshot");
            assert_eq!(after.version, sealed.version);
            all_equal(&after.values, sealed.version as f32, "the rounds that the seal reports");
        });
    }
}

/// With eight threads in stale mode, one of them slow, no thread pulls while it is more rounds
/// ahead than the bound.
pub fn threads_are_never_further_ahead_than_the_bound(subject: &Subject) {
    let (bound, rounds) = (2, subject.pushes.div_ceil(5));
    let epoch = Epoch::of(EpochPlan {
        sync_mode: SyncMode::Stale { bound },
        ..Epoch::new(0, THREADS as u32, THREADS as u64 * rounds).plan
    });
    let store = subject.run(subject.open(&epoch));
    // Counted before the push, so that no thread has pushed more than its count.
    let begun = [const { AtomicU64::new(0) }; THREADS];
    on_threads(THREADS, |shard| {
        subject.run(async {
            let gradient = subject.one_more();
            let mut replica = Replica::new();
            for round in 0..rounds {
                let progress = epoch.plan.sync_mode.progress(round);
                store.pull(0, &mut replica, progress).await.expect("pull");
                for other in &begun {
                    let other = other.load(Ordering::Acquire);
                    assert!(other + bound >= round, "round {round} beside one of {other} pushes");
                }
                for _ in 0..if shard == 0 { 20 } else { 0 } {
                    std::thread::yield_now();
                }
                begun[shard].fetch_add(1, Ordering::Release);
                epoch.push(&*store, shard as u32, round, &gradient).await.expect("push");
            }
        });
    });
    subject.run(async {
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.version, epoch.plan.batches());
    });
}
