//! Pulls into replicas.

use futures::future::{join, join_all};

use super::{Epoch, Subject, all_equal, plan, refused};
use crate::conformance::drive::stays_pending;
use crate::{EpochPlan, ErrorKind, Replica, Snapshot};

/// The first pull copies everything, and a pull without new updates copies nothing.
pub fn a_pull_copies_only_what_changed(subject: &Subject) {
    subject.run(async {
        let values: Vec<f32> = (0..subject.dim).map(|i| i as f32).collect();
        let store = subject.store_at(&values).await;
        store.open(&plan(0, 2, 4)).await.expect("open");
        let mut replica = Replica::new();
        let first = store.pull(0, &mut replica, 0).await.expect("pull");
        assert_eq!(first.copied, subject.dim, "the first pull copies everything");
        assert_eq!(replica.values, values);
        let second = store.pull(0, &mut replica, 0).await.expect("pull again");
        assert_eq!(second.copied, 0, "nothing changed since the first pull");
        assert_eq!(second.version, first.version);
        assert_eq!(replica.values, values);
    });
}

/// A pull into a replica that its worker changed overwrites the changes after `forget`.
pub fn a_forgotten_replica_is_copied_whole(subject: &Subject) {
    subject.run(async {
        let store = subject.open(&Epoch::new(0, 2, 4)).await;
        let mut replica = Replica::new();
        store.pull(0, &mut replica, 0).await.expect("pull");
        replica.values.fill(9.0);
        replica.forget();
        let pulled = store.pull(0, &mut replica, 0).await.expect("pull");
        assert_eq!(pulled.copied, subject.dim);
        all_equal(&replica.values, 0.0, "the store's parameters");
    });
}

/// In the next epoch every replica gets exactly the sealed parameters and their version,
/// independent of its contents before. A version is never more than the number of updates in any
/// block.
pub fn a_pull_brings_the_sealed_parameters(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        let mut kept = Replica::new();
        let mut version = 0;
        for number in 0..3 {
            let epoch = Epoch::new(number, 2, 4);
            store.open(&epoch.plan).await.expect("open");
            store.pull(number, &mut kept, 0).await.expect("pull");
            for (shard, position) in [(0, 0), (1, 0), (0, 1)] {
                epoch.push(&*store, shard, position, &subject.one_more()).await.expect("push");
                let pulled = store.pull(number, &mut kept, 0).await.expect("pull");
                assert!(version <= pulled.version, "a version never goes back");
                version = pulled.version;
                let held = kept.values.iter().fold(f32::INFINITY, |a, &b| a.min(b));
                assert!(
                    version as f32 <= held,
                    "version {version}, but a block holds {held} updates"
                );
            }
            store.seal(number).await.expect("seal");
            let sealed = store.snapshot().await.expect("snapshot");
            let next = Epoch::new(number + 1, 2, 4);
            store.open(&next.plan).await.expect("open the next epoch");
            for mut replica in [kept.clone(), Replica::new()] {
                let pulled = store.pull(number + 1, &mut replica, 0).await.expect("pull");
                assert_eq!(replica.values, sealed.values, "after epoch {number}");
                assert_eq!(pulled.version, sealed.version);
                let again = store.pull(number + 1, &mut replica, 0).await.expect("pull");
                assert_eq!(again.copied, 0);
            }
        }
    });
}

/// A replica from before a restore gets the restored parameters, even if their version is not newer
/// than its own.
pub fn a_pull_after_a_restore_brings_the_restored_parameters(subject: &Subject) {
    subject.run(async {
        let epoch = Epoch::new(0, 1, 1);
        let store = subject.open(&epoch).await;
        let restore = async |value| {
            let snapshot = Snapshot::initial(vec![value; subject.dim]);
            store.restore(&snapshot).await.expect("restore");
        };
        let mut replica = Replica::new();
        store.pull(0, &mut replica, 0).await.expect("pull");
        restore(5.0).await;
        store.open(&epoch.plan).await.expect("open");
        store.pull(0, &mut replica, 0).await.expect("pull");
        all_equal(&replica.values, 5.0, "restored at the same version");
        // Also after the same number of updates.
        for value in [5.0, 9.0] {
            restore(value).await;
            epoch.train(&*store, |_| subject.one_more()).await;
            store.open(&plan(1, 1, 1)).await.expect("open");
            store.pull(1, &mut replica, 0).await.expect("pull");
            all_equal(&replica.values, value + 1.0, "restored, and one update");
        }
    });
}

/// A pull from an epoch that is not open is a conflict, and one from a sealed epoch is fenced. The
/// replica does not change.
pub fn a_pull_outside_an_open_epoch_fails(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        let mut replica = Replica::new();
        let early = store.pull(0, &mut replica, 0).await;
        refused(early, ErrorKind::Conflict, "a pull before open");
        store.open(&plan(0, 2, 4)).await.expect("open");
        let early = store.pull(1, &mut replica, 0).await;
        refused(early, ErrorKind::Conflict, "a pull of the next epoch");
        store.pull(0, &mut replica, 0).await.expect("pull");
        let before = replica.values.clone();
        store.seal(0).await.expect("seal");
        let late = store.pull(0, &mut replica, 0).await;
        refused(late, ErrorKind::Fenced, "a late pull");
        store.open(&plan(1, 2, 4)).await.expect("open");
        let late = store.pull(0, &mut replica, 1).await;
        refused(late, ErrorKind::Fenced, "a pull of the epoch before");
        assert_eq!(replica.values, before);
    });
}

/// A pull with a `progress` waits until every unfinished shard has pushed this number of updates,
/// for any number of batches in an update.
pub fn a_pull_waits_for_progress(subject: &Subject) {
    subject.run(async {
        let steps = 2;
        let epoch = Epoch::of(EpochPlan { local_steps: steps, ..plan(0, 2, 12) });
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        let push = async |shard, update: u64| {
            let pushed = epoch.push(&*store, shard, update * steps, &gradient).await;
            pushed.expect("push");
        };
        for round in 1..=2 {
            let mut replica = Replica::new();
            let mut pull = store.pull(0, &mut replica, round);
            assert!(stays_pending(&mut pull).await, "no shard has pushed update {round}");
            push(0, round - 1).await;
            assert!(
                stays_pending(&mut pull).await,
                "only one of two shards has pushed update {round}"
            );
            // The pull is waiting already, so that the push must end the wait.
            let (pulled, ()) = join(pull, push(1, round - 1)).await;
            pulled.expect("every shard has pushed");
            let mut without_waiting = Replica::new();
            let pulled = store.pull(0, &mut without_waiting, round).await;
            pulled.expect("every shard has pushed before");
        }
    });
}

/// No pull waits for a finished shard, for any number of its updates.
pub fn a_finished_shard_is_past_every_round(subject: &Subject) {
    subject.run(async {
        // Shards of two and three batches.
        let epoch = Epoch::new(0, 2, 5);
        let store = subject.open(&epoch).await;
        let gradient = subject.one_more();
        for (shard, position) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            epoch.push(&*store, shard, position, &gradient).await.expect("push");
        }
        let mut replica = Replica::new();
        let mut pull = store.pull(0, &mut replica, 3);
        assert!(stays_pending(&mut pull).await, "a shard lacks its third update");
        epoch.push(&*store, 1, 2, &gradient).await.expect("push");
        pull.await.expect("every shard is done");
        let pulled = store.pull(0, &mut replica, u64::MAX).await;
        pulled.expect("every shard is done");
    });
}

/// Sealing ends a waiting pull with the error fenced.
pub fn a_seal_ends_a_waiting_pull(subject: &Subject) {
    subject.run(async {
        let store = subject.open(&Epoch::new(0, 2, 6)).await;
        let mut replicas = [Replica::new(), Replica::new()];
        let [one, two] = &mut replicas;
        let mut waiting = [store.pull(0, one, 1), store.pull(0, two, 2)];
        for pull in &mut waiting {
            assert!(stays_pending(pull).await, "no shard has pushed");
        }
        let (pulls, sealed) = join(join_all(waiting), store.seal(0)).await;
        sealed.expect("seal");
        for pull in pulls {
            refused(pull, ErrorKind::Fenced, "a pull that waited");
        }
    });
}
