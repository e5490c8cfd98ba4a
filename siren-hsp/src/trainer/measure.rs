//! Measurements: the model's loss, the driver's speed, and the scheduler's observation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use siren_core::{
    Allocation, Batch, Error, ErrorKind, Evaluation, Metrics, Observation, Phases, Result, Seed,
    Utilisation, Work,
};

use super::Trainer;
use crate::evaluate::evaluate_by;
use crate::forecast::Forecast;

impl Trainer {
    /// The observation for the scheduler.
    pub(super) fn observe(&self, epoch: u64, loss: f64) -> Observation {
        let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default();
        let last = self.epochs.last();
        Observation {
            epoch,
            loss,
            elapsed: last.map(|last| seconds(last.elapsed_s)),
            phases: last.map(|last| Phases {
                fetch: seconds(last.fetch_s),
                compute: seconds(last.compute_s),
                update: seconds(last.update_s),
                wait: seconds(last.round_wait_s + last.wait_s),
            }),
            utilisation: last.map(|last| Utilisation {
                memory: last.memory_utilisation,
                cpu: last.cpu_utilisation,
            }),
            budget_left: self.ledger.left(),
            allocation: last.map(|last| Allocation {
                local_steps: last.local_steps,
                ..Allocation::new(last.workers, last.memory_mb)
            }),
            step_factor: last.map(|last| last.step_factor),
            progress: last.map(|last| last.progress),
            noise: last.and_then(|last| last.noise_scale),
        }
    }

    /// The evaluation on held-out data. Without held-out data: the loss `training`, or, before any
    /// training, the loss of the first batch.
    pub(super) async fn measure(
        &self,
        values: &[f32],
        training: Option<f64>,
    ) -> Result<Evaluation> {
        let metrics = match (&self.parts.held_out, training) {
            (Some(held_out), _) => {
                let threads = self.config.evaluate_threads;
                let workload = Arc::clone(&self.parts.workload);
                let backend = &self.parts.backend;
                evaluate_by(
                    workload,
                    values.into(),
                    &**held_out,
                    threads,
                    |work, task| async move { backend.compute(work, task).await.map(drop) },
                )
                .await?
            }
            (None, Some(loss)) => return Ok(Evaluation::new(loss)),
            (None, None) => {
                // Before the first epoch, the loss of the first batch is the only estimate.
                let (loss, _) = self.first_gradient(values).await?;
                return Ok(Evaluation::new(loss));
            }
        };
        let mut evaluation = self.finished(metrics).await?;
        // JSON and charts cannot represent values that are not finite.
        evaluation.metrics.retain(|_, value| value.is_finite());
        Ok(evaluation)
    }

    /// The workload's evaluation of these metrics.
    async fn finished(&self, metrics: Metrics) -> Result<Evaluation> {
        let workload = Arc::clone(&self.parts.workload);
        let finished = Arc::new(Mutex::new(None));
        let into = Arc::clone(&finished);
        // The examples were counted when they were evaluated.
        let work = Work::Evaluation { examples: 0 };
        let task = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(|| workload.finish(&metrics)));
            let result = result.map_err(|payload| Error::panicked("the workload", &*payload));
            *into.lock() = Some(result);
        });
        self.parts.backend.compute(work, task).await?;
        let finished = finished.lock().take();
        finished.unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Worker, "the backend did not run the end of the evaluation"))
        })
    }

    /// Times one gradient in the driver, for the forecast of the first epoch. If the workload
    /// fails, the forecast is empty.
    pub(super) async fn probe(&self, values: &[f32]) -> Forecast {
        match self.first_gradient(values).await {
            Ok((_, took)) => {
                let exchange = self.parts.backend.expected_exchange_time();
                Forecast::probed(took, exchange, self.config.local_steps)
            }
            Err(_) => Forecast::default(),
        }
    }

    /// The mean loss over the first batch, and the time of computing it with its gradient.
    async fn first_gradient(&self, values: &[f32]) -> Result<(f64, Duration)> {
        let range = 0..self.config.batch_size.min(self.parts.train.len());
        let bytes = self.parts.train.fetch(range.clone()).await?;
        let (workload, values) = (Arc::clone(&self.parts.workload), values.to_vec());
        let loss = Arc::new(Mutex::new(None));
        let into = Arc::clone(&loss);
        let work = Work::Gradient { examples: range.end };
        let task = Box::new(move || {
            let batch = Batch::new(range.end as usize, &bytes);
            let mut gradient = vec![0.0; values.len()];
            *into.lock() = Some(workload.gradient(&values, &batch, Seed::new(0), &mut gradient));
        });
        let took = self.parts.backend.compute(work, task).await?;
        let loss = loss.lock().take();
        let missing =
            || Error::new(ErrorKind::Worker, "the backend did not run the first gradient");
        Ok((loss.ok_or_else(missing)??, took))
    }
}
