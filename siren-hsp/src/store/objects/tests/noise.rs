//! The noise rule when processes come and go.

use std::sync::Arc;

use futures::executor::block_on;
use siren_core::{Noise, Optimizer, ParameterStore, Replica, Snapshot, SyncMode, Update};

use super::support::{DIM, gradient, inline_store, plan, update};
use crate::{MemoryObjects, MemoryStore};

/// The points at which the process that applies updates is replaced by another one.
enum Replaced {
    Never,
    AfterEachUpdate,
    AfterEveryThird,
    BeforeTheSeal,
}

/// The state after two epochs, in which a process applies what was pushed so far and then may die.
fn trained(sync_mode: SyncMode, optimizer: Optimizer, replaced: Replaced) -> Snapshot {
    let objects = Arc::new(MemoryObjects::new());
    let open = || inline_store(objects.clone(), DIM, 3);
    block_on(async {
        let mut store = open();
        let values = (0..DIM).map(|i| i as f32).collect();
        store.restore(&Snapshot::initial(values)).await.unwrap();
        for epoch in 0..2 {
            let plan = plan(sync_mode, optimizer);
            let plan = siren_core::EpochPlan { epoch, noise: Noise::usual(sync_mode), ..plan };
            store.open(&plan).await.unwrap();
            let mut pushed = 0;
            for position in 0..plan.shard_len(0) {
                for shard in 0..plan.shards {
                    let gradient = gradient(shard, position);
                    store.push(&update(&plan, shard, position, &gradient)).await.unwrap();
                    pushed += 1;
                    let (applies, dies) = match replaced {
                        Replaced::Never => (true, false),
                        Replaced::AfterEachUpdate => (true, true),
                        Replaced::AfterEveryThird => (pushed % 3 == 0, pushed % 3 == 0),
                        Replaced::BeforeTheSeal => (false, false),
                    };
                    if applies {
                        store.status().await.unwrap();
                    }
                    if dies {
                        store = open();
                    }
                }
            }
            if let Replaced::BeforeTheSeal = replaced {
                store = open();
            }
            let sealed = store.seal(epoch).await.unwrap();
            assert_eq!(sealed.step_factor < 1.0, sync_mode == SyncMode::Hybrid, "{sealed:?}");
            assert!(sealed.noise.is_some(), "{sealed:?}");
        }
        store.snapshot().await.unwrap()
    })
}

#[test]
fn an_aggregator_that_dies_in_the_middle_of_a_window_changes_no_bit() {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk] {
        for optimizer in [Optimizer::Sgd, Optimizer::ADAGRAD, Optimizer::ADAM] {
            let never = trained(sync_mode, optimizer, Replaced::Never);
            for replaced in
                [Replaced::AfterEachUpdate, Replaced::AfterEveryThird, Replaced::BeforeTheSeal]
            {
                assert_eq!(trained(sync_mode, optimizer, replaced), never, "{optimizer:?}");
            }
        }
    }
}

/// A snapshot of three parts goes into a store of five, and into memory, and the rule goes on from
/// its averages. Without the rule in between, they stay as they are.
#[test]
fn averages_move_between_stores_with_other_parts() {
    let taken = trained(SyncMode::Hybrid, Optimizer::ADAGRAD, Replaced::Never);
    assert_eq!(taken.noise.len(), 3);
    let first_factor = |store: &dyn ParameterStore| {
        block_on(async {
            store.restore(&taken).await.unwrap();
            let hybrid = plan(SyncMode::Hybrid, Optimizer::ADAGRAD);
            let off = siren_core::EpochPlan { epoch: 2, noise: Noise::Off, ..hybrid.clone() };
            store.open(&off).await.unwrap();
            store.seal(2).await.unwrap();
            let rule = siren_core::EpochPlan { epoch: 3, noise: Noise::RULE, ..hybrid };
            store.open(&rule).await.unwrap();
            let version = store.pull(3, &mut Replica::new(), 0).await.unwrap().version;
            let gradient = gradient(0, 0);
            let update = Update { version, ..update(&rule, 0, 0, &gradient) };
            store.push(&update).await.unwrap();
            store.seal(3).await.unwrap().step_factor
        })
    };
    let memory = first_factor(&MemoryStore::new(vec![0.0; DIM]).unwrap());
    let five = first_factor(&inline_store(Arc::new(MemoryObjects::new()), DIM, 5));
    // The averages of five parts are equal, since they are shares of the sum.
    assert!((memory - five).abs() < 1e-12, "{memory} and {five}");
    let cold = (1.0 / f64::from(plan(SyncMode::Hybrid, Optimizer::Sgd).shards)).sqrt();
    assert!(memory > cold + 1e-3 && memory < 1.0, "{memory}, without averages {cold}");
}
