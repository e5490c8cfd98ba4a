//! The checkpoint, the record and the files at the end of a run.

use std::path::Path;

use siren_core::{Evaluation, Outcome, Result, Snapshot, Usd, file};

use super::{End, Event, Trainer, TrainingResult};
use crate::checkpoint::{Checkpoint, Header};
use crate::{HistoryEvent, OutcomeRecord, RunInfo, RunRecord, SCHEMA};

impl Trainer {
    /// Writes the checkpoint of a barrier.
    pub(super) fn save(&self, snapshot: &Snapshot) -> Result<()> {
        let (Some(folder), Some(initial)) = (&self.config.out, &self.initial) else {
            return Ok(());
        };
        let header = Header::new(
            &self.config,
            &self.job,
            initial.clone(),
            &self.epochs,
            self.elapsed().as_secs_f64(),
            self.ledger.spent(),
            self.forecast,
            snapshot,
        );
        Checkpoint::save(folder, &header, snapshot)
    }

    /// Ends a run: writes the record and the files, and informs the scheduler and the observer.
    pub(super) fn finish(mut self, snapshot: Snapshot, end: End) -> Result<TrainingResult> {
        let (reason, detail) = end;
        if self.history.is_resumed() && !self.history.has_begun() {
            // The run is complete, but the driver may have been killed before it wrote the end.
            self.history.begin(&HistoryEvent::started(snapshot.sealed_epochs))?;
        }
        let initial = self.initial.take().unwrap_or_else(|| Evaluation::new(f64::NAN));
        // Settles the driver's usage since the last barrier.
        let usage = self.unsettled_driver_usage();
        let usd = self.platform.driver_usage_cost(usage);
        self.ledger.spend(usd);
        if usd > Usd::ZERO {
            let epoch = snapshot.sealed_epochs;
            self.history.write(&HistoryEvent::Settled { epoch, usd: usd.dollars() })?;
        }
        let last = self.epochs.last();
        let outcome = Outcome {
            reason,
            epochs: snapshot.sealed_epochs,
            evaluation: last.map_or(&initial, |last| &last.evaluation).clone(),
            elapsed: self.elapsed(),
            cost: self.ledger.spent(),
            detail,
        };
        let evaluations = self.epochs.iter().map(|epoch| &epoch.evaluation).chain([&initial]);
        let names = evaluations.flat_map(|evaluation| evaluation.metrics.keys());
        let metrics = names.map(|name| (name.clone(), self.parts.workload.better(name))).collect();
        let record = RunRecord {
            schema: SCHEMA,
            run: self.config.run.clone(),
            info: RunInfo {
                parameters: self.job.parameters,
                examples: self.parts.train.len(),
                held_out: self.parts.held_out.as_ref().map_or(0, |data| data.len()),
                layout: format!("{:016x}", self.job.layout),
                data_fingerprint: format!("{:016x}", self.job.data),
                metrics,
                platform: self.platform.clone(),
            },
            config: self.config.clone(),
            initial,
            outcome: OutcomeRecord {
                reason,
                detail: outcome.detail.clone(),
                evaluation: outcome.evaluation.clone(),
                elapsed_s: outcome.elapsed.as_secs_f64(),
                cost_usd: outcome.cost.dollars(),
            },
            epochs: std::mem::take(&mut self.epochs),
        };
        self.history.write(&HistoryEvent::Finished(record.outcome.clone()))?;
        if let (Some(folder), true) = (&self.config.out, self.history.has_begun()) {
            write_record(folder, &record)?;
        }
        self.parts.scheduler.finish(&outcome);
        self.notify(&Event::Finished(&outcome));
        Ok(TrainingResult {
            outcome,
            record,
            values: snapshot.values,
            started: self.history.has_begun(),
        })
    }
}

fn write_record(folder: &Path, record: &RunRecord) -> Result<()> {
    file::replace(&folder.join("run.json"), |to| {
        serde_json::to_writer_pretty(&mut *to, record)?;
        to.write_all(b"\n")
    })
}
