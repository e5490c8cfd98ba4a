//! A workload that learns nothing.

use siren::data::Batch;
use siren::metrics::Metrics;
use siren::{Layout, Result, Seed, Workload};

/// A workload of one parameter that computes nothing.
pub(crate) struct Empty(pub(crate) Layout);

impl Workload for Empty {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0])
    }

    fn gradient(&self, _: &[f32], _: &Batch<'_>, _: Seed, gradient: &mut [f32]) -> Result<f64> {
        gradient.fill(0.0);
        Ok(0.0)
    }

    fn evaluate(&self, _: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        metrics.add_loss(batch.examples as u64, 0.0);
        Ok(())
    }
}
