//! A small problem: fitting a linear function of eight inputs by least squares.

use siren_core::{Batch, Layout, Metrics, Result, Seed, Workload};

/// The number of values in an example: the inputs and the target.
pub(crate) const WIDTH: usize = 9;

/// Least squares without an intercept.
pub(crate) struct LeastSquares {
    layout: Layout,
}

impl LeastSquares {
    pub(crate) fn new() -> Self {
        Self { layout: Layout::flat("weights", WIDTH - 1).unwrap() }
    }

    /// Returns the summed loss, and calls `see` with the inputs and the residual of each example.
    fn each(params: &[f32], batch: &Batch<'_>, mut see: impl FnMut(&[f32], f32)) -> Result<f64> {
        let numbers = batch.floats(WIDTH)?;
        let mut loss = 0.0;
        for example in numbers.chunks_exact(WIDTH) {
            let (inputs, answer) = example.split_at(WIDTH - 1);
            let said: f32 = inputs.iter().zip(params).map(|(x, w)| x * w).sum();
            let difference = said - answer[0];
            loss += 0.5 * f64::from(difference * difference);
            see(inputs, difference);
        }
        Ok(loss)
    }
}

impl Workload for LeastSquares {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.dim()])
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        _: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        gradient.fill(0.0);
        let share = 1.0 / batch.examples as f32;
        let loss = Self::each(params, batch, |inputs, difference| {
            for (slope, x) in gradient.iter_mut().zip(inputs) {
                *slope += share * difference * x;
            }
        })?;
        Ok(loss / batch.examples as f64)
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        let loss = Self::each(params, batch, |_, _| {})?;
        metrics.add_loss(batch.examples as u64, loss);
        Ok(())
    }
}
