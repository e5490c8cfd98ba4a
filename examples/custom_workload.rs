//! Your own model and data source: `cargo run --release --example custom_workload`
//!
//! A network with one hidden layer learns to tell two interleaved spirals apart. Nothing is stored:
//! the data source computes the requested examples. The trainer is built from its parts, with a
//! schedule that starts with many workers and ends with few.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand_distr::{Distribution, Normal};
use siren::backend::{LocalBackend, ShardWorker};
use siren::data::{Batch, DataSource};
use siren::metrics::{Better, Evaluation, Metrics};
use siren::store::{MemoryStore, ParameterStore};
use siren::{
    Config, Error, Event, Layout, Observer, Optimizer, PhasedScheduler, Result, Seed, StopRules,
    Stream, TensorSpec, Trainer, TrainerParts, Workload,
};

/// Points on two spirals with a little noise: x, y, and which spiral, as three `f32`.
pub struct Spirals {
    /// The seed of the noise.
    pub seed: Seed,
    /// The number of points.
    pub len: u64,
}

#[siren::async_trait]
impl DataSource for Spirals {
    fn len(&self) -> u64 {
        self.len
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len {
            return Err(Error::rejected(format!("{range:?} is not within {} points", self.len)));
        }
        let noise = Normal::new(0.0, 0.05).map_err(|error| Error::rejected(error.to_string()))?;
        let mut bytes = Vec::new();
        for index in range {
            // A generator for each point, so that a point does not depend on the requested range.
            let mut draws = noise.sample_iter(self.seed.child(index).rng());
            let mut noise = || draws.next().unwrap_or(0.0);
            let (spiral, along) = ((index % 2) as f32, (index / 2 % 500) as f32 / 500.0);
            let angle = 2.0 * std::f32::consts::PI * along + spiral * std::f32::consts::PI;
            let point = [along * angle.cos() + noise(), along * angle.sin() + noise(), spiral];
            bytes.extend(point.iter().flat_map(|x| x.to_le_bytes()));
        }
        Ok(bytes)
    }
}

const HIDDEN: usize = 64;

/// The mean squared error of the predicted probabilities, a metric that only this workload has.
const BRIER: &str = "brier score";

/// Two inputs, a hidden layer of ReLUs, one output: the log-odds of the second spiral.
pub struct Network {
    layout: Layout,
}

/// The results of a forward pass that the backward pass needs.
struct Forward<'a> {
    inputs: Array2<f32>,
    hidden: Array2<f32>,
    outer: ArrayView1<'a, f32>,
    /// Predicted probability minus label.
    errors: Array1<f32>,
    loss: f64,
}

impl Network {
    /// A network, whose parameters live elsewhere.
    ///
    /// # Errors
    ///
    /// None: the layout is sound.
    pub fn new() -> Result<Self> {
        let layout = Layout::new(vec![
            TensorSpec::new("hidden.weight", [2, HIDDEN]),
            TensorSpec::new("hidden.bias", [HIDDEN]),
            TensorSpec::new("output.weight", [HIDDEN]),
            TensorSpec::new("output.bias", [1]),
        ])?;
        Ok(Self { layout })
    }

    fn forward<'a>(params: &'a [f32], batch: &Batch<'_>) -> Result<Forward<'a>> {
        let rows = Array2::from_shape_vec((batch.examples, 3), batch.floats(3)?)
            .map_err(|error| Error::rejected("a point is three numbers").with_source(error))?;
        let (weight, rest) = params.split_at(2 * HIDDEN);
        let (bias, rest) = rest.split_at(HIDDEN);
        let (outer, last) = rest.split_at(HIDDEN);
        let weight = ArrayView2::from_shape((2, HIDDEN), weight)
            .map_err(|error| Error::rejected("wrong number of parameters").with_source(error))?;
        let (inputs, labels) = rows.view().split_at(Axis(1), 2);
        let hidden = (inputs.dot(&weight) + ArrayView1::from(bias)).mapv(|z| z.max(0.0));
        let logits = hidden.dot(&ArrayView1::from(outer)) + last[0];
        let labels = labels.column(0);
        // log(1 + exp(z)) - label z, written so that nothing overflows.
        let loss = |(&z, &label): (&f32, &f32)| {
            f64::from(z.max(0.0) + (-z.abs()).exp().ln_1p() - label * z)
        };
        Ok(Forward {
            loss: logits.iter().zip(labels).map(loss).sum(),
            errors: logits.mapv(|z| 1.0 / (1.0 + (-z).exp())) - labels,
            inputs: inputs.to_owned(),
            hidden,
            outer: ArrayView1::from(outer),
        })
    }
}

impl Workload for Network {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, seed: Seed) -> Result<Vec<f32>> {
        let normal = Normal::new(0.0, 0.5).map_err(|error| Error::rejected(error.to_string()))?;
        Ok(normal.sample_iter(seed.rng()).take(self.dim()).collect())
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        _: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        let pass = Self::forward(params, batch)?;
        let errors = pass.errors / batch.examples as f32;
        let column = errors.view().insert_axis(Axis(1));
        let behind = column.dot(&pass.outer.insert_axis(Axis(0)));
        let behind = behind * pass.hidden.mapv(|h| f32::from(h > 0.0));
        let parts = [
            pass.inputs.t().dot(&behind).into_iter().collect::<Vec<_>>(),
            behind.sum_axis(Axis(0)).to_vec(),
            pass.hidden.t().dot(&errors).to_vec(),
            vec![errors.sum()],
        ];
        gradient.copy_from_slice(&parts.concat());
        Ok(pass.loss / batch.examples as f64)
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        let pass = Self::forward(params, batch)?;
        metrics.add_loss(batch.examples as u64, pass.loss);
        let right = pass.errors.iter().filter(|error| error.abs() < 0.5).count();
        metrics.add_answers(batch.examples as u64, right as u64);
        let squares = pass.errors.iter().map(|&error| f64::from(error * error)).sum();
        metrics.add(BRIER, &[batch.examples as f64, squares]);
        Ok(())
    }

    fn finish(&self, metrics: &Metrics) -> Evaluation {
        metrics.evaluation().with(BRIER, metrics.mean(BRIER))
    }

    fn better(&self, metric: &str) -> Better {
        if metric == BRIER { Better::Lower } else { Better::Higher }
    }
}

/// Prints a line for each epoch.
struct Lines;

impl Observer for Lines {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::EpochFinished(epoch) = event {
            let Evaluation { loss, metrics } = &epoch.evaluation;
            print!("epoch {:2}: {:2} workers  loss {loss:.4}", epoch.epoch, epoch.workers);
            metrics.iter().for_each(|(name, value)| print!("  {name} {value:.4}"));
            println!();
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let seed = Seed::new(1);
    let train: Arc<dyn DataSource> =
        Arc::new(Spirals { seed: seed.split(Stream::Order, &[0]), len: 20_000 });
    let held_out = Arc::new(Spirals { seed: seed.split(Stream::Order, &[1]), len: 2_000 });
    let workload: Arc<dyn Workload> = Arc::new(Network::new()?);

    let store: Arc<dyn ParameterStore> =
        Arc::new(MemoryStore::initialised(&*workload, seed.get())?);
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let backend = Arc::new(LocalBackend::new(worker, store.clone(), train.clone())?);
    let scheduler = Box::new(PhasedScheduler::new(16, 4, 1, 512));

    let parts =
        TrainerParts { workload, train, held_out: Some(held_out), store, backend, scheduler };
    let config = Config {
        batch_size: 50,
        optimizer: Optimizer::ADAM,
        learning_rate: 0.01.into(),
        stop: StopRules { epochs: 12, target_loss: Some(0.05), ..StopRules::default() },
        ..Config::default()
    };
    let trained = Trainer::new(parts, config)?.with_observer(Lines).run().await?;
    let outcome = trained.outcome;
    println!(
        "{} after {} epochs and {:.1} s: loss {:.4}, {} (an estimate)",
        outcome.reason,
        outcome.epochs,
        outcome.elapsed.as_secs_f64(),
        outcome.evaluation.loss,
        outcome.cost
    );
    Ok(())
}
