//! The contract of a store, held by the store in memory.

use rand_distr::{Distribution, StandardNormal};
use siren_core::conformance::{store, store_tests};
use siren_core::{
    EpochPlan, Gradient, Noise, Optimizer, ParameterStore as _, Replica, Seed, SyncMode, Update,
    UpdateId,
};

use super::MemoryStore;
use crate::Config;

store_tests!(
    in_small_blocks,
    store::Subject::new(|dim| async move { MemoryStore::in_blocks(vec![0.0; dim], 7).unwrap() })
);
store_tests!(
    in_memory,
    store::Subject::new(|dim| async move { MemoryStore::new(vec![0.0; dim]).unwrap() })
);

/// The noise scale of a quadratic function, whose gradient is known: the parameters stay where they
/// are, each of 1,000 entries has the mean `m`, and normal noise of variance 1.
#[tokio::test]
async fn the_noise_scale_is_that_of_the_closed_form() {
    const DIM: usize = 1_000;
    const PUSHES: u64 = 8_000;
    for (sync_mode, shards) in [(SyncMode::Hybrid, 8), (SyncMode::Bulk, 16)] {
        for scale in [5.0_f64, 20.0, 100.0] {
            let plan = EpochPlan { sync_mode, shards, ..noise_plan(PUSHES) };
            let store = MemoryStore::in_blocks(vec![0.0; DIM], 300).unwrap();
            store.open(&plan).await.unwrap();
            let mut rng = Seed::new(scale as u64).rng();
            let mean = (1.0 / scale).sqrt() as f32;
            for position in 0..PUSHES / u64::from(shards) {
                for shard in 0..shards {
                    let normal = (0..DIM).map(|_| StandardNormal.sample(&mut rng));
                    let gradient: Vec<f32> = normal.map(|noise: f32| mean + noise).collect();
                    let update = noise_update(0, shard, position, &gradient);
                    store.push(&update).await.unwrap();
                }
            }
            let measured = store.seal(0).await.unwrap().noise.unwrap();
            assert!(!measured.above, "{measured:?}");
            let (error, expected) = (measured.standard_error, 2.0 * scale);
            assert!((measured.examples / expected - 1.0).abs() < 0.1, "{expected}: {measured:?}");
            assert!((measured.examples - expected).abs() < 4.0 * error, "{expected}: {measured:?}");
        }
    }
}

/// Pushes walk over the blocks in an order that depends on what their thread did before. The bits
/// do not depend on it.
#[tokio::test]
async fn the_rule_gives_the_same_bits_in_every_order_of_the_blocks() {
    const DIM: usize = 70_001;
    let plan = EpochPlan {
        shards: 4,
        learning_rate: 0.1,
        optimizer: Optimizer::ADAM,
        clip_norm: Some(100.0),
        noise: Noise::RULE,
        ..noise_plan(40)
    };
    let mut snapshots = Vec::new();
    for uses_another in [false, true] {
        let [store, another] =
            [(); 2].map(|()| MemoryStore::in_blocks(vec![0.5; DIM], 8_192).unwrap());
        for epoch in 0..2 {
            let plan = EpochPlan { epoch, ..plan.clone() };
            store.open(&plan).await.unwrap();
            another.open(&plan).await.unwrap();
            let mut rng = Seed::new(3).rng();
            for number in 0..40 {
                let gradient: Vec<f32> =
                    (0..DIM).map(|_| StandardNormal.sample(&mut rng)).collect();
                let update = noise_update(epoch, (number % 4) as u32, number / 4, &gradient);
                store.push(&update).await.unwrap();
                if uses_another && number % 3 == 0 {
                    another.pull(epoch, &mut Replica::new(), 0).await.unwrap();
                }
            }
            let sealed = store.seal(epoch).await.unwrap();
            another.seal(epoch).await.unwrap();
            assert!(sealed.step_factor < 1.0 && sealed.noise.is_some(), "{sealed:?}");
        }
        snapshots.push(store.snapshot().await.unwrap());
    }
    assert!(snapshots[0] == snapshots[1], "the order of the blocks changes the bits");
}

/// A plan for `updates` updates of two examples.
fn noise_plan(updates: u64) -> EpochPlan {
    let config = Config {
        batch_size: 2,
        learning_rate: 0.0.into(),
        noise: Some(Noise::Measure),
        ..Config::default()
    };
    config.plan(0, 0, 2 * updates, 1)
}

fn noise_update(epoch: u64, shard: u32, position: u64, gradient: &[f32]) -> Update<'_> {
    Update {
        id: UpdateId { epoch, shard, position },
        batches: 1,
        examples: 2,
        loss: 0.0,
        version: 0,
        squared_norm: crate::kernel::squared_norm(gradient),
        gradient: Gradient::Dense(gradient),
    }
}
