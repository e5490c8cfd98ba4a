//! What is measured of a run: the model, the machine, and what a scheduler sees of both.

use std::sync::Arc;
use std::time::Duration;

use siren_core::{
    Allocation, Batch, Error, ErrorKind, Observation, Phases, Result, Seed, Utilisation,
};

use super::{Forecast, Trainer};
use crate::{Evaluation, evaluate};

impl Trainer {
    /// What the scheduler sees.
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
            allocation: last
                .map(|last| Allocation { workers: last.workers, memory_mb: last.memory_mb }),
        }
    }

    /// The held-out loss, or `training` where nothing is held out; before any training the loss of
    /// the first batch then.
    pub(super) async fn measure(
        &self,
        values: &[f32],
        training: Option<f64>,
    ) -> Result<Evaluation> {
        let metrics = match (&self.parts.held_out, training) {
            (Some(held_out), _) => {
                let threads = self.config.evaluate_threads;
                let workload = Arc::clone(&self.parts.workload);
                evaluate(workload, values.into(), &**held_out, threads).await?
            }
            (None, Some(loss)) => {
                return Ok(Evaluation { loss, accuracy: None, auc: None });
            }
            (None, None) => {
                // The training loss of the first batch: nothing better is known before the first epoch.
                let loss = self.first_gradient(values).await?;
                return Ok(Evaluation { loss, accuracy: None, auc: None });
            }
        };
        Ok(Evaluation { loss: metrics.loss(), accuracy: metrics.accuracy(), auc: metrics.auc() })
    }

    /// Times one gradient here, to forecast the first epoch with. In virtual time, which does not
    /// pass meanwhile, and with a workload that fails there is no forecast.
    pub(super) async fn probe(&self, values: &[f32]) -> Forecast {
        let before = self.now();
        match self.first_gradient(values).await {
            Ok(_) => Forecast::probed(self.now() - before, self.config.local_steps),
            Err(_) => Forecast::default(),
        }
    }

    /// The mean loss over the first batch, with its gradient, on a thread of its own.
    async fn first_gradient(&self, values: &[f32]) -> Result<f64> {
        let range = 0..self.config.batch_size.min(self.parts.train.len());
        let bytes = self.parts.train.fetch(range.clone()).await?;
        let (workload, values) = (Arc::clone(&self.parts.workload), values.to_vec());
        let (done, result) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let batch = Batch::new(range.end as usize, &bytes);
            let mut gradient = vec![0.0; values.len()];
            let loss = workload.gradient(&values, &batch, Seed::new(0), &mut gradient);
            let _ = done.send(loss);
        });
        let panicked = |_| Error::new(ErrorKind::Worker, "the workload panicked in a gradient");
        result.await.map_err(panicked)?
    }
}
