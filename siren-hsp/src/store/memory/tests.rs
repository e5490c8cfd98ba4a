//! The contract of a store, held by the store in memory.

use siren_core::conformance::{store, store_tests};
use siren_core::{Compression, EpochPlan, Noise, Optimizer, SyncMode};

use super::MemoryStore;

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
    use rand_distr::{Distribution, StandardNormal};
    use siren_core::{Gradient, ParameterStore as _, Seed, Update, UpdateId};

    const DIM: usize = 1_000;
    const PUSHES: u64 = 8_000;
    for (sync_mode, shards) in [(SyncMode::Hybrid, 8), (SyncMode::Bulk, 16)] {
        for scale in [5.0_f64, 20.0, 100.0] {
            let plan = EpochPlan {
                run: "noise".into(),
                epoch: 0,
                seed: Seed::new(1),
                layout: 0,
                examples: 2 * PUSHES,
                batch_size: 2,
                shards,
                local_steps: 1,
                optimizer: Optimizer::Sgd,
                learning_rate: 0.0,
                weight_decay: 0.0,
                clip_norm: None,
                sync_mode,
                compression: Compression::None,
                noise: Noise::Measure,
            };
            let store = MemoryStore::in_blocks(vec![0.0; DIM], 300).unwrap();
            store.open(&plan).await.unwrap();
            let mut rng = Seed::new(scale as u64).rng();
            let mean = (1.0 / scale).sqrt() as f32;
            for position in 0..PUSHES / u64::from(shards) {
                for shard in 0..shards {
                    let normal = (0..DIM).map(|_| StandardNormal.sample(&mut rng));
                    let gradient: Vec<f32> = normal.map(|noise: f32| mean + noise).collect();
                    let update = Update {
                        id: UpdateId { epoch: 0, shard, position },
                        batches: 1,
                        examples: 2,
                        loss: 0.0,
                        version: 0,
                        squared_norm: 1.0,
                        gradient: Gradient::Dense(&gradient),
                    };
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
