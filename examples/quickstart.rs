//! Logistic regression by hand, four workers: `cargo run --release --example quickstart`
use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand_distr::{Distribution, StandardNormal};
use siren::{data::MemorySource, prelude::*};
use std::sync::Arc;

const FEATURES: usize = 20; // an example has these and a label
/// Predicts the label of an example.
pub struct Logistic(pub Layout);

impl Logistic {
    /// Features, errors of the predicted probabilities, and the sum of the losses.
    fn predict(w: &[f32], batch: &Batch<'_>) -> Result<(Array2<f32>, Array1<f32>, f64)> {
        let rows = batch.floats(FEATURES + 1)?;
        let rows = Array2::from_shape_vec((batch.examples, FEATURES + 1), rows).unwrap();
        let (x, y) = rows.view().split_at(Axis(1), FEATURES);
        let p = x.dot(&ArrayView1::from(w)).mapv(|z| 1.0 / (1.0 + (-z).exp()));
        let error = p - y.column(0);
        let loss = error.iter().map(|error| -f64::from(1.0 - error.abs()).ln()).sum();
        Ok((x.to_owned(), error, loss))
    }
}

impl Workload for Logistic {
    fn layout(&self) -> &Layout {
        &self.0
    }
    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; FEATURES])
    }
    fn gradient(&self, w: &[f32], batch: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
        let (x, error, loss) = Self::predict(w, batch)?;
        g.copy_from_slice((x.t().dot(&error) / batch.examples as f32).as_slice().unwrap());
        Ok(loss / batch.examples as f64)
    }
    fn evaluate(&self, w: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        let (_, error, loss) = Self::predict(w, batch)?;
        metrics.add_loss(batch.examples as u64, loss);
        let right = error.iter().filter(|error| error.abs() < 0.5).count();
        metrics.add_answers(batch.examples as u64, right as u64);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut draws = StandardNormal.sample_iter(Seed::new(1).rng());
    let mut points = Vec::new();
    for _ in 0..20_000 {
        let x: Vec<f32> = draws.by_ref().take(FEATURES).collect();
        points.extend(x.iter().chain(&[f32::from(x.iter().sum::<f32>() > 0.0)]));
    }
    let (train, test) = MemorySource::from_floats(&points, FEATURES + 1)?.split(16_000)?;
    let workload = Arc::new(Logistic(Layout::flat("weights", FEATURES)?));
    let trainer = siren::local(workload, Arc::new(train), Some(Arc::new(test)))
        .scheduler(FixedScheduler::new(4, 1_792))
        .build()?;
    println!("{:#?}", trainer.run().await?.outcome);
    Ok(())
}
