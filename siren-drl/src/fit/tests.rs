use rand_distr::{Distribution, StandardNormal};
use siren_core::{Allocation, Evaluation, Seed};
use siren_hsp::EpochRecord;

use super::*;
use crate::model::{At, Epoch};

const SEEDS: std::ops::Range<u64> = 1..5;

/// The record that a trainer would make of a model's epoch.
fn recorded(model: &JobModel, at: At, to: Allocation, epoch: &Epoch) -> EpochRecord {
    let start = &model.start;
    let mut start_s = start.wait_s;
    start_s += if at.epoch == 0 { start.first_s } else { 0.0 };
    start_s += match at.memory_mb {
        Some(before) if before != to.memory_mb => start.change_s,
        _ => 0.0,
    };
    let work = epoch.fetch_s + epoch.compute_s + epoch.update_s;
    let rounds = model.rounds(to.workers, at.progress) * f64::from(to.workers);
    EpochRecord {
        epoch: at.epoch,
        workers: to.workers,
        workers_asked: to.workers,
        memory_mb: to.memory_mb,
        local_steps: None,
        learning_rate: 0.1,
        evaluation: Evaluation::new(model.loss(at.progress + epoch.progress)),
        train_loss: 1.0,
        elapsed_s: epoch.elapsed_s,
        evaluate_s: 0.0,
        fetch_s: epoch.fetch_s,
        compute_s: epoch.compute_s,
        queue_s: 0.0,
        update_s: epoch.update_s,
        round_wait_s: 0.0,
        wait_s: (epoch.elapsed_s - work - start_s).max(0.0),
        cpu_utilisation: epoch.cpu,
        memory_utilisation: epoch.memory,
        memory_shared: false,
        updates: rounds.round() as u64,
        batches: 100_000,
        complete: true,
        retries: 0,
        staleness_mean: 0.0,
        staleness_max: 0,
        step_factor: 1.0,
        progress: 1.0,
        noise_scale: None,
        aggregators: 0,
        aggregator_retries: 0,
        aggregator_cost_usd: 0.0,
        driver_cost_usd: 0.0,
        egress_bytes: 0,
        computed_bills: 0,
        cost_usd: epoch.cost_usd,
        budget_left_usd: None,
    }
}

/// A run of `epochs` epochs, with these allocations in turn.
fn ran(model: &JobModel, turns: &[(u32, u32)], epochs: u64, seed: u64) -> RunHistory {
    let mut rng = Seed::new(seed).rng();
    let (mut at, mut records) = (At::default(), Vec::new());
    for epoch in 0..epochs {
        let (workers, memory_mb) = turns[epoch as usize % turns.len()];
        let to = Allocation::new(workers, memory_mb);
        at.epoch = epoch;
        let went = model.epoch(at, to, &Chance::draw(&mut rng));
        // Measurements of single functions vary, and so does the loss on other examples.
        let mut noisy = |value: f64, deviation: f64| {
            let normal: f64 = StandardNormal.sample(&mut rng);
            value * (deviation * normal).exp()
        };
        let measured = Epoch {
            fetch_s: noisy(went.fetch_s, 0.02),
            compute_s: noisy(went.compute_s, 0.02),
            update_s: noisy(went.update_s, 0.02),
            ..went
        };
        let mut record = recorded(model, at, to, &measured);
        record.evaluation.loss = noisy(record.evaluation.loss, 0.01);
        records.push(record);
        at = At { progress: at.progress + went.progress, memory_mb: Some(memory_mb), ..at };
    }
    let mut history = RunHistory::from(records);
    history.runs[0].initial = Some(model.loss(0.0));
    history
}

const VARIED: [(u32, u32); 6] =
    [(100, 1_536), (400, 1_024), (50, 3_008), (800, 1_536), (200, 2_048), (400, 3_008)];
const UNSEEN: [(u32, u32); 4] = [(70, 2_560), (300, 1_280), (600, 3_008), (1_000, 1_792)];

/// The largest errors of time and cost of allocations over the whole job.
fn largest(truth: &JobModel, model: &JobModel, allocations: &[(u32, u32)]) -> (f64, f64) {
    let needed = truth.progress_at(truth.target_loss);
    let (mut time, mut cost) = (0.0_f64, 0.0_f64);
    for &(workers, memory_mb) in allocations {
        for part in [0.1, 0.5, 0.9] {
            let progress = needed * part;
            let to = Allocation::new(workers, memory_mb);
            let at = At { epoch: 5, progress, memory_mb: Some(memory_mb) };
            let known = truth.epoch(at, to, &Chance::EXPECTED);
            // The same place on the curve: units of progress may differ.
            let at = At { progress: model.progress_at(truth.loss(progress)), ..at };
            let found = model.epoch(at, to, &Chance::EXPECTED);
            time = time.max((found.elapsed_s / known.elapsed_s - 1.0).abs());
            cost = cost.max((found.cost_usd / known.cost_usd - 1.0).abs());
        }
    }
    (time, cost)
}

/// `truth` with parameters that are wrong by a factor of up to two.
fn wrong(truth: &JobModel) -> JobModel {
    let mut prior = truth.clone();
    prior.compute.vcpu_seconds *= 2.0;
    prior.compute.fall = 0.2;
    prior.compute.parallel_share = 0.5;
    prior.update.rounds /= 2.0;
    prior.update.growth = 0.5;
    prior.update.latency_s *= 2.0;
    prior.fetch.data_mb /= 1.5;
    prior.fees.scale /= 2.0;
    prior.fees.call_usd *= 2.0;
    prior.loss.b0 *= 2.0;
    prior.noise.time *= 2.0;
    prior
}

#[test]
fn parameters_of_noisy_runs_are_found_from_a_wrong_prior() {
    let truth = JobModel::named("seed").unwrap();
    for seed in SEEDS {
        let history = ran(&truth, &VARIED, 60, seed);
        let FittedModel { model, quality } = JobModel::fit_from(&wrong(&truth), &history).unwrap();
        let seen = largest(&truth, &model, &VARIED);
        let unseen = largest(&truth, &model, &UNSEEN);
        println!("{quality:?}\n  seen {seen:?} unseen {unseen:?}");
        // Noise of 3 % in times of 60 epochs.
        let near = |found: f64, known: f64, share: f64| (found / known - 1.0).abs() < share;
        assert!(near(model.compute.vcpu_seconds, truth.compute.vcpu_seconds, 0.03));
        assert!((model.compute.fall - truth.compute.fall).abs() < 0.03);
        assert!((model.compute.parallel_share - truth.compute.parallel_share).abs() < 0.05);
        assert!((model.update.growth - truth.update.growth).abs() < 0.05);
        assert!(near(model.fees.scale, truth.fees.scale, 0.03), "{:?}", model.fees);
        assert!(seen.0 < 0.05 && seen.1 < 0.05, "{seen:?}");
        assert!(unseen.0 < 0.06 && unseen.1 < 0.06, "{unseen:?}");
        assert!(
            quality.fitted.time < 0.04 && quality.fitted.cost < 0.04 && quality.fitted.loss < 0.1
        );
        let ahead = quality.ahead.unwrap();
        assert!(ahead.time < 0.08 && ahead.cost < 0.08 && ahead.loss < 0.1, "{ahead:?}");
    }
}

#[test]
fn without_any_prior_runs_with_varied_allocations_predict_others() {
    let truth = JobModel::named("seed").unwrap();
    for seed in SEEDS {
        let history = ran(&truth, &VARIED, 40, seed);
        let FittedModel { model, quality } = JobModel::fit(&history).unwrap();
        let (seen, unseen) = (largest(&truth, &model, &VARIED), largest(&truth, &model, &UNSEEN));
        println!("{quality:?}\n  seen {seen:?} unseen {unseen:?}");
        assert!(quality.fitted.time < 0.06 && quality.fitted.cost < 0.06, "{quality:?}");
        assert!(unseen.0 < 0.2 && unseen.1 < 0.2, "{unseen:?}");
    }
}

#[test]
fn staleness_is_found_where_numbers_of_functions_vary_and_kept_where_not() {
    let mut truth = JobModel::named("stale").unwrap();
    truth.staleness.workers = 800.0;
    let mut prior = truth.clone();
    prior.staleness.workers = 3_000.0;
    for seed in SEEDS {
        let FittedModel { model, .. } =
            JobModel::fit_from(&prior, &ran(&truth, &VARIED, 60, seed)).unwrap();
        let found = model.staleness.workers;
        assert!((300.0..2_400.0).contains(&found), "{found} functions halve the progress");
        let constant = ran(&truth, &[(200, 1_536)], 60, seed);
        let FittedModel { model, quality } = JobModel::fit_from(&prior, &constant).unwrap();
        assert!((model.staleness.workers / 3_000.0 - 1.0).abs() < 1e-9);
        assert!(quality.fitted.loss < 0.1, "{quality:?}");
        assert_eq!(model.compute.parallel_share, prior.compute.parallel_share);
    }
    // No staleness, and none is found.
    let truth = JobModel::named("seed").unwrap();
    let FittedModel { model, .. } =
        JobModel::fit_from(&truth, &ran(&truth, &VARIED, 60, 1)).unwrap();
    assert!(model.staleness.workers > 5_000.0);
}

#[test]
fn two_or_three_epochs_make_a_usable_model() {
    let truth = JobModel::named("seed").unwrap();
    for (seed, epochs) in SEEDS.zip([1, 2, 3, 3]) {
        let history = ran(&truth, &[(200, 1_536), (300, 2_048)], epochs, seed);
        let FittedModel { model, quality } = JobModel::fit_from(&wrong(&truth), &history).unwrap();
        assert_eq!(quality.ahead, None);
        let at = At { epoch: 3, progress: 0.0, memory_mb: Some(1_536) };
        let to = Allocation::new(250, 1_536);
        let (known, found) =
            (truth.epoch(at, to, &Chance::EXPECTED), model.epoch(at, to, &Chance::EXPECTED));
        println!(
            "{epochs}: {quality:?} {} {}, needs {} of 97",
            known.elapsed_s,
            found.elapsed_s,
            model.progress_at(0.15)
        );
        assert!((found.elapsed_s / known.elapsed_s - 1.0).abs() < 0.15);
        assert!((found.cost_usd / known.cost_usd - 1.0).abs() < 0.15);
        assert!(model.progress_at(model.target_loss).is_finite());
        let FittedModel { model, .. } = JobModel::fit(&history).unwrap();
        model.check().unwrap();
        assert!(model.progress_at(model.target_loss).is_finite());
    }
}

#[test]
fn a_loss_that_rises_or_stays_breaks_nothing() {
    let truth = JobModel::named("seed").unwrap();
    let good = ran(&truth, &VARIED, 12, 1);
    for change in [
        (|epoch, _| 1.0 + 0.1 * f64::from(epoch)) as fn(u32, f64) -> f64,
        |_, _| 0.7,
        |_, _| 0.0,
        |epoch, _| if epoch == 5 { 40.0 } else { 1.0 / f64::from(epoch + 1) },
        |epoch, _| -f64::from(epoch),
    ] {
        let mut history = good.clone();
        for (number, epoch) in (0..).zip(&mut history.runs[0].epochs) {
            epoch.evaluation.loss = change(number, epoch.evaluation.loss);
        }
        for fit in [JobModel::fit(&history), JobModel::fit_from(&truth, &history)] {
            let FittedModel { model, quality } = fit.unwrap();
            model.check().unwrap();
            assert!(quality.fitted.time < 0.1, "{quality:?}");
        }
    }
}

#[test]
fn what_is_missing_is_named() {
    let truth = JobModel::named("seed").unwrap();
    let refused = |change: fn(&mut RunHistory)| {
        let mut history = ran(&truth, &VARIED, 3, 1);
        change(&mut history);
        JobModel::fit(&history).unwrap_err().message().to_owned()
    };
    assert!(JobModel::fit(&RunHistory::default()).unwrap_err().message().contains("no epoch"));
    assert!(refused(|h| h.runs[0].epochs.clear()).contains("no epoch"));
    assert!(
        refused(|h| h.runs[0].epochs[2].evaluation.loss = f64::NAN)
            .contains("the loss of epoch 2 is NaN")
    );
    assert!(refused(|h| h.runs[0].epochs[1].elapsed_s = 0.0).contains("the elapsed_s of epoch 1"));
    assert!(refused(|h| h.runs[0].epochs[1].workers = 0).contains("0 workers"));
    let two = refused(|h| {
        h.runs[0].parameters = Some(1);
        let mut other = h.clone();
        other.runs[0].parameters = Some(2);
        h.append(other);
    });
    assert!(two.contains("1 and 2 parameters"), "{two}");
    let empty = tempfile::tempdir().unwrap();
    let error = RunHistory::read(empty.path()).unwrap_err();
    assert!(error.message().contains("neither run.json nor history.jsonl"), "{error}");
}

#[test]
fn files_of_another_schema_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("history.jsonl", r#"{"event":"started","epoch":0}"#),
        ("run.json", r#"{"schema": 1, "run": "old"}"#),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{text}\n")).unwrap();
        let line = RunHistory::read(folder.path()).unwrap_err().chain();
        for part in [path.to_str().unwrap(), "has schema 1,", "run the training again"] {
            assert!(line.contains(part) && !line.contains('\n'), "{part} is missing: {line}");
        }
        std::fs::remove_file(path).unwrap();
    }
}
