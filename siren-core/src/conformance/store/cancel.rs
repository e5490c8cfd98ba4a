//! Cancelled calls.
//!
//! Every call is cancelled after 0, 1, 2, … polls, until it finishes before it can be cancelled.
//! Each time it is repeated, as by a caller without an answer.

use super::{Epoch, Subject, all_equal, plan};
use crate::conformance::drive::{cancel_after, stays_pending};
use crate::{Optimizer, Replica, Snapshot};

/// The number of polls after which a call counts as endless.
const POLLS: usize = 1_000;

/// A push that is cancelled at any point and repeated counts once.
pub fn a_cancelled_push_is_all_or_nothing(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 2 * POLLS as u64);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        let mut pushed = 0;
        for polls in 0..POLLS {
            let update = epoch.update(1, pushed, &gradient);
            let done = cancel_after(polls, store.push(&update)).await;
            store.push(&update).await.expect("push again");
            pushed += 1;
            if let Some(push_outcome) = done {
                push_outcome.expect("push");
                break;
            }
        }
        let sealed = store.seal(0).await.expect("seal");
        assert_eq!(sealed.version, pushed);
        assert_eq!(sealed.watermarks, [epoch.watermark(0, 0), epoch.watermark(1, pushed)]);
        let after = store.snapshot().await.expect("snapshot");
        all_equal(&after.values, pushed as f32, "the number of pushes");
    });
}

/// A pull that is cancelled at any point and repeated copies the parameters.
pub fn a_cancelled_pull_can_be_repeated(subject: &Subject) {
    subject.run(async {
        let mut replica = Replica::new();
        let store = subject.store().await;
        for polls in 0..POLLS {
            let number = polls as u64;
            let epoch = Epoch::new(number, 1, 1);
            epoch.train(&*store, |_| subject.one_more()).await;
            store.open(&plan(number + 1, 1, 1)).await.expect("open");
            let done = cancel_after(polls, store.pull(number + 1, &mut replica, 0)).await;
            store.pull(number + 1, &mut replica, 0).await.expect("pull again");
            all_equal(&replica.values, (number + 1) as f32, "the number of epochs");
            if let Some(pulled) = done {
                pulled.expect("pull");
                break;
            }
        }
    });
}

/// A pull that is cancelled while it waits for others has no effect on pushes, other pulls and the
/// seal.
pub fn a_cancelled_wait_for_progress_leaves_no_trace(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 2, 4);
        let store = subject.open(&epoch).await;
        let (mut cancelled, mut patient) = (Replica::new(), Replica::new());
        let mut pull = store.pull(0, &mut patient, 1);
        assert!(stays_pending(&mut pull).await, "no shard has pushed");
        for _ in 0..100 {
            let mut other = store.pull(0, &mut cancelled, 1);
            assert!(stays_pending(&mut other).await, "no shard has pushed");
        }
        for shard in 0..2 {
            epoch.push(&*store, shard, 0, &subject.one_more()).await.expect("push");
        }
        pull.await.expect("every shard has pushed");
        store.pull(0, &mut cancelled, 1).await.expect("pull again");
        store.seal(0).await.expect("seal");
    });
}

/// An open that is cancelled at any point and repeated opens the epoch.
pub fn a_cancelled_open_can_be_repeated(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        for polls in 0..POLLS {
            let epoch = Epoch::new(polls as u64, 2, 4);
            let done = cancel_after(polls, store.open(&epoch.plan)).await;
            let sealed = epoch.train(&*store, |_| subject.one_more()).await;
            assert_eq!(sealed.version, 4 * (polls as u64 + 1));
            if let Some(opened) = done {
                opened.expect("open");
                break;
            }
        }
    });
}

/// A seal that is cancelled at any point and repeated returns the complete summary.
pub fn a_cancelled_seal_can_be_repeated(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        for polls in 0..POLLS {
            let number = polls as u64;
            let epoch = Epoch::new(number, 2, 4);
            store.open(&epoch.plan).await.expect("open");
            epoch.push(&*store, 1, 0, &subject.one_more()).await.expect("push");
            let done = cancel_after(polls, store.seal(number)).await;
            let sealed = store.seal(number).await.expect("seal again");
            assert_eq!((sealed.epoch, sealed.version), (number, number + 1));
            assert_eq!(sealed.watermarks, [epoch.watermark(0, 0), epoch.watermark(1, 1)]);
            let after = store.snapshot().await.expect("snapshot");
            all_equal(&after.values, (number + 1) as f32, "the number of pushes");
            if let Some(first) = done {
                assert_eq!(first.expect("seal"), sealed);
                break;
            }
        }
    });
}

/// A snapshot that is cancelled at any point has no effect.
pub fn a_cancelled_snapshot_can_be_repeated(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        let epoch = Epoch::new(0, 2, 4);
        epoch.train(&*store, |_| subject.one_more()).await;
        let whole = store.snapshot().await.expect("snapshot");
        for polls in 0..POLLS {
            let done = cancel_after(polls, store.snapshot()).await;
            assert_eq!(store.snapshot().await.expect("snapshot"), whole);
            if done.is_some() {
                break;
            }
        }
    });
}

/// A restore that is cancelled at any point has happened either in full or not at all.
pub fn a_cancelled_restore_is_all_or_nothing(subject: &Subject) {
    subject.run(async {
        let state = |epochs: u64| Snapshot {
            sealed_epochs: epochs,
            version: 3 * epochs,
            values: vec![epochs as f32; subject.dim],
            optimizer_state: vec![vec![0.5; subject.dim]; Optimizer::ADAM.state_vectors()],
            noise: Vec::new(),
        };
        let store = subject.store().await;
        store.restore(&state(1)).await.expect("restore");
        for polls in 0..POLLS {
            let (old, new) = (state(polls as u64 + 1), state(polls as u64 + 2));
            let done = cancel_after(polls, store.restore(&new)).await;
            let found = store.snapshot().await.expect("snapshot");
            assert!(found == old || found == new, "the state is only partly restored");
            store.restore(&new).await.expect("restore again");
            assert_eq!(store.snapshot().await.expect("snapshot"), new);
            if done.is_some() {
                break;
            }
        }
    });
}
