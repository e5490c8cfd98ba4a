//! Sparse gradients and compressed updates.

mod support;

use std::sync::Arc;

use siren::data::Batch;
use siren::metrics::Metrics;
use siren::store::{MemoryStore, SparseGradient};
use siren::{
    Compression, Config, FixedScheduler, Layout, Noise, Optimizer, Result, Seed, StopRules,
    SyncMode, Trainer, Workload,
};
use siren_core::conformance::{workload, workload_tests};
use support::{Linear, parts, parts_on, quick, rows};

/// [`Linear`], with gradients in sparse form.
struct Sparse(Arc<Linear>);

impl Workload for Sparse {
    fn layout(&self) -> &Layout {
        self.0.layout()
    }
    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        self.0.init(seed)
    }
    fn gradient(&self, p: &[f32], batch: &Batch<'_>, seed: Seed, g: &mut [f32]) -> Result<f64> {
        self.0.gradient(p, batch, seed, g)
    }
    fn sparse_gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        seed: Seed,
        gradient: &mut SparseGradient,
    ) -> Result<Option<f64>> {
        let mut dense = [0.0; support::FEATURES];
        let loss = self.0.gradient(params, batch, seed, &mut dense)?;
        for (index, &value) in dense.iter().enumerate().rev() {
            gradient.add(index as u32, value);
        }
        Ok(Some(loss))
    }
    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        self.0.evaluate(params, batch, metrics)
    }
}

workload_tests!(
    sparse_linear,
    workload::Subject::new(Sparse(Linear::new()), {
        let numbers = |i: u8| (0..6).map(move |j| f32::from((7 * i + 3 * j) % 11) / 5.0 - 1.0);
        (0..5).map(|i| numbers(i).flat_map(f32::to_le_bytes).collect()).collect()
    })
);

async fn trained(workload: Arc<dyn Workload>, config: Config, workers: u32) -> Vec<f32> {
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let (parts, _, _) =
        parts_on(workload, store, rows(1_003), FixedScheduler::new(workers, 1_769), []);
    Trainer::new(parts, config).unwrap().run().await.unwrap().values
}

/// A sparse gradient is only another encoding: it gives the same parameters to the last bit, also
/// with local steps and in rounds.
#[tokio::test]
async fn sparse_gradients_train_to_the_same_bits_as_dense_ones() {
    let momentum = Optimizer::Momentum { momentum: 0.5 };
    for (optimizer, local_steps, sync_mode, workers) in [
        (Optimizer::Sgd, 1, SyncMode::Hybrid, 1),
        (Optimizer::Sgd, 3, SyncMode::Hybrid, 1),
        (momentum, 1, SyncMode::Hybrid, 1),
        (Optimizer::ADAGRAD, 1, SyncMode::Hybrid, 1),
        (Optimizer::ADAGRAD, 3, SyncMode::Hybrid, 1),
        (Optimizer::Sgd, 2, SyncMode::Bulk, 2),
    ] {
        let config =
            Config { optimizer, local_steps, sync_mode, learning_rate: 0.02.into(), ..quick() };
        let dense = trained(Linear::new(), config.clone(), workers).await;
        let sparse = trained(Arc::new(Sparse(Linear::new())), config, workers).await;
        assert_eq!(dense, sparse, "{optimizer:?}, {local_steps} local steps, {sync_mode:?}");
    }
}

/// With all entries, top-k equals plain training: nothing is left out and nothing is added.
#[tokio::test]
async fn the_top_hundred_percent_are_everything() {
    let top = Config { compression: Compression::TopK { share: 1.0 }, ..quick() };
    let plain = trained(Linear::new(), quick(), 1).await;
    assert_eq!(trained(Linear::new(), top.clone(), 1).await, plain);
    assert_eq!(trained(Arc::new(Sparse(Linear::new())), top, 1).await, plain);
}

/// A workload with a constant gradient: the updates of an epoch add up to a known sum.
struct Slope(Layout);

impl Slope {
    const DIM: usize = 10;
}

impl Workload for Slope {
    fn layout(&self) -> &Layout {
        &self.0
    }
    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; Self::DIM])
    }
    fn gradient(&self, _: &[f32], _: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
        g.iter_mut().zip(1..).for_each(|(g, i)| *g = i as f32);
        Ok(0.0)
    }
    fn evaluate(&self, _: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        metrics.add_loss(batch.examples as u64, 0.0);
        Ok(())
    }
}

/// Entries that top-k leaves out are pushed later: after an epoch each has been applied exactly
/// once.
#[tokio::test]
async fn top_k_leaves_nothing_out_of_an_epoch() {
    let runs = [SyncMode::Hybrid, SyncMode::Bulk]
        .map(|s| [(s, 1, 1), (s, 3, 1), (s, 4, 1), (s, 2, 4), (s, 4, 3), (s, 64, 1), (s, 4, 100)]);
    for (sync_mode, workers, local_steps) in runs.into_iter().flatten() {
        let workload = Arc::new(Slope(Layout::flat("weights", Slope::DIM).unwrap()));
        // Dense gradients are not clipped: their norm is 19.6. The kept entries must not be clipped
        // either.
        let config = Config {
            learning_rate: 1.0.into(),
            clip_norm: Some(20.0),
            sync_mode,
            // Sums are compared, so every update has to count in full.
            noise: Some(Noise::Off),
            local_steps,
            batch_size: 10,
            stop: StopRules { epochs: 1, ..StopRules::default() },
            ..quick()
        };
        let dense = trained(workload.clone(), config.clone(), workers).await;
        let top = Compression::TopK { share: 0.1 };
        let config = Config { compression: top, ..config };
        let sparse = trained(workload, config, workers).await;
        for (sparse, dense) in sparse.iter().zip(dense) {
            // Under bulk mode the shortest batch, three examples of ten, has a smaller weight.
            let close = 0.01 * dense.abs() * f32::from(sync_mode.merges_rounds()) + 1e-3;
            assert!(
                (sparse - dense).abs() <= close,
                "{sparse}, not {dense}: {sync_mode:?}, {workers} workers, {local_steps} local steps"
            );
        }
    }
}

#[tokio::test]
async fn top_k_learns_with_many_workers() {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk] {
        let config = Config {
            compression: Compression::TopK { share: 0.2 },
            learning_rate: 0.05.into(),
            clip_norm: Some(50.0),
            sync_mode,
            ..quick()
        };
        let (parts, _, _) = parts(rows(2_000), FixedScheduler::new(4, 1_769), []);
        let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
        assert!(
            trained.outcome.evaluation.loss < 0.02,
            "{sync_mode:?} ends at {}",
            trained.outcome.evaluation.loss
        );
    }
}
