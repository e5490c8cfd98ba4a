//! The allocations of pushes and pulls.

use allocation_counter::measure;
use futures::FutureExt;
use siren_core::{
    Compression, Entry, EpochPlan, Gradient, Noise, Optimizer, ParameterStore, PushOutcome,
    Replica, Seed, SparseSlice, SyncMode, Update, UpdateId,
};
use siren_hsp::MemoryStore;

const DIM: usize = 100_000;
const SHARDS: u32 = 3;

/// Makes a call whose future takes one allocation, by `async_trait`, and that allocates nothing
/// while it runs.
fn call<T, F: Future<Output = T> + Unpin>(what: &str, make: impl FnOnce() -> F) -> T {
    let (mut future, mut output) = (None, None);
    let made = measure(|| future = Some(make()));
    assert_eq!(made.count_total, 1, "allocations that make the future of {what}");
    assert!(made.bytes_total <= 512, "the future of {what} has {} bytes", made.bytes_total);
    let ran = measure(|| output = future.take().expect("a future").now_or_never());
    // The future itself is freed here.
    assert_eq!(ran.count_total, 0, "{what} allocates {} bytes", ran.bytes_total);
    output.expect("nothing to wait for")
}

#[test]
fn pushes_and_pulls_allocate_nothing_once_warm() {
    let dense: Vec<f32> = (0..DIM).map(|i| (i % 7) as f32).collect();
    let entries: Vec<Entry> =
        (0..DIM as u32).step_by(9).map(|index| Entry { index, value: 0.5 }).collect();
    let sparse = Gradient::Sparse(SparseSlice::new(DIM, &entries).unwrap());
    let rules: Vec<_> = Optimizer::samples().collect();
    let synchronies = [SyncMode::Hybrid, SyncMode::Stale { bound: 1 }, SyncMode::Bulk];
    for (optimizer, sync_mode) in
        rules.into_iter().flat_map(|optimizer| synchronies.map(|s| (optimizer, s)))
    {
        for gradient in [Gradient::Dense(&dense), sparse] {
            let store = MemoryStore::new(vec![0.0; DIM]).unwrap();
            let plan = EpochPlan {
                run: "test".into(),
                epoch: 0,
                seed: Seed::new(0),
                layout: 0,
                examples: 1_000,
                batch_size: 1,
                shards: SHARDS,
                local_steps: 1,
                optimizer,
                learning_rate: 1e-3,
                weight_decay: 0.0,
                clip_norm: Some(1.0),
                sync_mode,
                compression: Compression::None,
                noise: match sync_mode.merges_rounds() {
                    true => Noise::Measure,
                    false => Noise::RULE,
                },
            };
            store.open(&plan).now_or_never().unwrap().unwrap();
            let mut replica = Replica::new();
            let mut update = Update {
                id: UpdateId::default(),
                batches: 1,
                examples: 1,
                loss: 0.5,
                version: 0,
                squared_norm: 2.0,
                gradient,
            };
            let name = format!("{optimizer:?}, {sync_mode:?}, {} entries", gradient.stored());
            for round in 0..10 {
                for shard in 0..SHARDS {
                    let warm = round > 0;
                    let progress = sync_mode.progress(round);
                    let (pulled, pushed);
                    if warm {
                        pulled = call(&format!("a pull ({name})"), || {
                            store.pull(0, &mut replica, progress)
                        });
                        update.id = UpdateId { epoch: 0, shard, position: round };
                        pushed = call(&format!("a push ({name})"), || store.push(&update));
                    } else {
                        pulled = store.pull(0, &mut replica, 0).now_or_never().unwrap();
                        update.id = UpdateId { epoch: 0, shard, position: round };
                        pushed = store.push(&update).now_or_never().unwrap();
                    }
                    pulled.unwrap();
                    assert_eq!(pushed.unwrap(), PushOutcome::Accepted);
                }
            }
        }
    }
}
