//! The noise rule when processes come and go.

use std::sync::Arc;

use futures::executor::block_on;
use siren_core::{Noise, Optimizer, ParameterStore, Snapshot, SyncMode};

use super::super::{ObjectOptions, ObjectStore};
use super::support::{DIM, InstantClock, gradient, plan, update};
use crate::MemoryObjects;

/// The points at which the process that applies updates is replaced by another one.
enum Replaced {
    Never,
    AfterEachUpdate,
    AfterEveryThird,
    BeforeTheSeal,
}

/// The state after two epochs, in which a process applies what was pushed so far and then may die.
fn trained(optimizer: Optimizer, replaced: Replaced) -> Snapshot {
    let objects = Arc::new(MemoryObjects::new());
    let open = || {
        let options = ObjectOptions { parts: 3, inline: true, ..ObjectOptions::default() };
        let clock = Arc::new(InstantClock::default());
        let store = ObjectStore::new(objects.clone(), clock, "runs/noise", DIM);
        store.unwrap().with_options(options)
    };
    block_on(async {
        let mut store = open();
        let values = (0..DIM).map(|i| i as f32).collect();
        store.restore(&Snapshot::initial(values)).await.unwrap();
        for epoch in 0..2 {
            let plan = plan(SyncMode::Hybrid, optimizer);
            let plan = siren_core::EpochPlan { epoch, noise: Noise::RULE, ..plan };
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
            assert!(sealed.step_factor < 1.0 && sealed.noise.is_some(), "{sealed:?}");
        }
        store.snapshot().await.unwrap()
    })
}

#[test]
fn an_aggregator_that_dies_in_the_middle_of_a_window_changes_no_bit() {
    for optimizer in [Optimizer::Sgd, Optimizer::ADAGRAD, Optimizer::ADAM] {
        let never = trained(optimizer, Replaced::Never);
        for replaced in
            [Replaced::AfterEachUpdate, Replaced::AfterEveryThird, Replaced::BeforeTheSeal]
        {
            assert_eq!(trained(optimizer, replaced), never, "{optimizer:?}");
        }
    }
}
