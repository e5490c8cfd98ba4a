//! Records of plausible runs.

use siren_core::{Better, Evaluation, NoiseScale, Platform, StopReason};
use siren_hsp::{Config, EpochRecord, OutcomeRecord, RunInfo, RunRecord, SCHEMA};

/// LeNet on one machine: constant workers and memory, and a loss that falls in every epoch.
pub(crate) fn lenet(epochs: u64) -> RunRecord {
    let all = (0..epochs).map(|epoch| {
        let progress = (epoch + 1) as f64;
        EpochRecord {
            epoch,
            workers: 4,
            workers_asked: 4,
            memory_mb: 1_769,
            local_steps: None,
            learning_rate: 0.01,
            evaluation: Evaluation::new(0.21 / progress + 0.031_25)
                .with("accuracy", 0.990_1 - 0.05 / progress),
            train_loss: 0.52 / progress + 0.02,
            elapsed_s: 7.25 + 0.31 * (epoch as f64).sin(),
            evaluate_s: 0.875,
            fetch_s: 0.042,
            compute_s: 6.5 + 0.25 * (epoch as f64).sin(),
            update_s: 0.44,
            queue_s: 0.0,
            round_wait_s: 0.037,
            wait_s: 0.12,
            cpu_utilisation: 0.93 + 0.02 * (epoch as f64).cos(),
            memory_utilisation: 0.071,
            memory_shared: true,
            updates: 938,
            batches: 938,
            complete: true,
            retries: 0,
            staleness_mean: 2.97,
            staleness_max: 11,
            step_factor: 0.75 + 0.2 * (epoch as f64).sin(),
            progress: 1.0,
            noise_scale: Some(NoiseScale {
                examples: 20.0 * progress,
                standard_error: progress,
                above: epoch > 30,
                at_floor: 0.1,
                windows: 100,
            }),
            aggregators: 0,
            aggregator_retries: 0,
            aggregator_cost_usd: 0.0,
            driver_cost_usd: 0.0,
            egress_bytes: 0,
            computed_bills: 0,
            cost_usd: 0.000_836,
            budget_left_usd: None,
        }
    });
    finish(RunRecord {
        schema: SCHEMA,
        run: "lenet-mnist".into(),
        info: RunInfo {
            parameters: 61_706,
            examples: 60_000,
            held_out: 10_000,
            layout: "9f86d081884c7d65".into(),
            data_fingerprint: "2cf24dba5fb0a30e".into(),
            metrics: [("accuracy".to_owned(), Better::Higher)].into(),
            platform: Platform::local(),
        },
        config: Config::default(),
        initial: Evaluation::new(2.305_1).with("accuracy", 0.098),
        outcome: OutcomeRecord {
            reason: StopReason::Epochs,
            detail: None,
            evaluation: Evaluation::new(0.0),
            elapsed_s: 0.0,
            cost_usd: 0.0,
        },
        epochs: all.collect(),
    })
}

/// A budgeted run on Lambda whose scheduler changes workers and memory at every barrier.
pub(crate) fn scheduled(epochs: u64) -> RunRecord {
    let mut record = lenet(epochs);
    record.run = "siren-drl · click-through".into();
    record.info.platform = Platform::aws_lambda();
    record.initial = record.initial.with("auc", 0.5);
    record.info.metrics.insert("auc".into(), Better::Higher);
    let mut left = 25.0;
    for epoch in &mut record.epochs {
        let wave = (epoch.epoch as f64 * 0.7).sin();
        epoch.workers_asked = (60.0 + 48.0 * wave).round() as u32;
        epoch.workers = epoch.workers_asked.min(96);
        epoch.memory_mb = 512 + 128 * ((epoch.epoch * 7) % 12) as u32;
        epoch.memory_shared = false;
        let speed = f64::from(epoch.workers) * f64::from(epoch.memory_mb) / 1_769.0;
        epoch.fetch_s = 1.5 + 0.02 * f64::from(epoch.workers);
        epoch.compute_s = 620.0 / speed;
        epoch.update_s = 2.0 + 0.07 * f64::from(epoch.workers);
        epoch.wait_s = 0.1 * epoch.compute_s + 1.0;
        epoch.elapsed_s = epoch.fetch_s
            + epoch.compute_s
            + epoch.update_s
            + epoch.round_wait_s
            + epoch.wait_s
            + 0.6;
        epoch.evaluate_s = 4.2 + wave;
        epoch.memory_utilisation = 240.0 / f64::from(epoch.memory_mb);
        epoch.cpu_utilisation = epoch.compute_s / epoch.elapsed_s;
        epoch.evaluation = Evaluation::new(0.39 + 0.28 / (epoch.epoch as f64 + 1.5))
            .with("accuracy", 0.83 - 0.1 / (epoch.epoch as f64 + 1.0))
            .with("auc", 0.78 - 0.2 / (epoch.epoch as f64 + 2.0));
        epoch.train_loss = epoch.evaluation.loss + 0.02 * wave;
        epoch.cost_usd =
            16.67e-6 * f64::from(epoch.workers) * epoch.elapsed_s * f64::from(epoch.memory_mb)
                / 1_024.0;
        epoch.retries = u32::from(epoch.epoch % 9 == 4);
        left -= epoch.cost_usd;
        epoch.budget_left_usd = Some(left);
    }
    let mut record = finish(record);
    record.outcome.reason = StopReason::TargetLoss;
    record
}

/// A run without enough money for one epoch.
pub(crate) fn nothing() -> RunRecord {
    let mut record = lenet(0);
    record.outcome.reason = StopReason::Budget;
    record.outcome.detail = Some("$1.000e-6 does not pay for one worker".into());
    record
}

/// An outcome that agrees with the epochs.
fn finish(mut record: RunRecord) -> RunRecord {
    let last = record.epochs.last();
    record.outcome.evaluation = last.map_or(&record.initial, |epoch| &epoch.evaluation).clone();
    record.outcome.cost_usd = record.epochs.iter().map(|epoch| epoch.cost_usd).sum();
    record.outcome.elapsed_s =
        record.epochs.iter().map(|epoch| epoch.elapsed_s + epoch.evaluate_s).sum();
    record
}
