//! Models of jobs against jobs that train: logistic regression on simulated functions.

use std::path::PathBuf;
use std::sync::Arc;

use rand_distr::{Distribution, StandardNormal};
use siren_backend_sim::{Bill, SimBackend, SimStore, Simulation};
use siren_core::platform::{EpochShape, Profile};
use siren_core::{
    Allocation, Job, Observation, Outcome, RequestCosts, Requests, Result, Scheduler, Seed,
    StepTime, Usd,
};
use siren_data::MemorySource;
use siren_drl::model::{At, Chance, Dynamics};
use siren_drl::{Adaptive, FittedModel, JobModel, Planner, RunHistory};
use siren_hsp::{
    Config, EpochRecord, MemoryStore, RunRecord, ShardWorker, StopRules, Trainer, TrainerParts,
    TrainingResult,
};
use siren_linear::LogisticRegression;

const FEATURES: usize = 20;
const EXAMPLES: u64 = 16_000;
const STEP: StepTime = StepTime {
    seconds_per_example: 10e-3,
    flops_per_example: 0.0,
    seconds_per_batch: 1e-3,
    seconds_per_parameter: 0.0,
    seconds_per_handover: 0.0,
    parallel_share: 0.0,
};

/// Allocations in turn.
struct Turns(Vec<(u32, u32)>);

impl Scheduler for Turns {
    fn allocate(&mut self, _: &Job, observation: &Observation) -> Result<Allocation> {
        let (workers, memory_mb) = self.0[observation.epoch as usize % self.0.len()];
        Ok(Allocation::new(workers, memory_mb))
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, _: &Outcome) {}
}

/// Points and labels. A line through the origin separates the labels, except for some noise.
fn points(count: u64, seed: u64) -> Arc<MemorySource> {
    let mut draws = StandardNormal.sample_iter(Seed::new(seed).rng());
    let mut numbers: Vec<f32> = Vec::new();
    for _ in 0..count {
        let x: Vec<f32> = draws.by_ref().take(FEATURES).collect();
        let noise: f32 = draws.next().unwrap_or(0.0);
        numbers.push(f32::from(x.iter().sum::<f32>() + noise > 0.0));
        numbers.extend(x);
    }
    Arc::new(MemorySource::from_floats(&numbers, FEATURES + 1).unwrap())
}

fn config(out: Option<PathBuf>, epochs: u64) -> Config {
    Config {
        batch_size: 20,
        local_steps: 4,
        learning_rate: 0.02.into(),
        stop: StopRules { epochs, target_loss: Some(0.01), ..StopRules::default() },
        evaluate_threads: Some(1),
        out,
        ..Config::default()
    }
}

fn run(turns: &[(u32, u32)], config: Config, seed: u64) -> RunRecord {
    run_by(Box::new(Turns(turns.to_vec())), config, seed).0.record
}

fn run_by(scheduler: Box<dyn Scheduler>, config: Config, seed: u64) -> (TrainingResult, Bill) {
    let workload = Arc::new(LogisticRegression::new(FEATURES).unwrap());
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let simulation = Simulation { profile: lambda(), ..Simulation::lambda(STEP) };
    let (train, sim_store) = (points(EXAMPLES, 1), SimStore::Ideal(store));
    let sim = SimBackend::functions(worker, sim_store, train, simulation, Seed::new(seed)).unwrap();
    let sim = Arc::new(sim);
    let parts = TrainerParts {
        workload,
        train: sim.data(),
        held_out: Some(points(2_000, 2)),
        store: sim.store(),
        backend: sim.clone(),
        scheduler,
    };
    let trained = sim.run(Trainer::new(parts, config).unwrap().run()).unwrap().unwrap();
    (trained, sim.bill())
}

/// Lambda with all sizes published: models cannot distinguish a new size from one that was used
/// before.
fn lambda() -> Profile {
    let mut profile = Profile::aws_lambda();
    profile.starts.publish_s = 0.0;
    profile
}

fn predicted() -> JobModel {
    let one = RequestCosts {
        pull: Requests { reads: 1, writes: 0 },
        push: Requests { reads: 0, writes: 1 },
        ..RequestCosts::NONE
    };
    let bytes = (FEATURES as u64 + 1) * 4;
    let shape = EpochShape {
        batches: EXAMPLES / 20,
        batch_size: 20,
        local_steps: 4,
        example_bytes: (FEATURES as f64 + 1.0) * 4.0,
        pull_bytes: bytes,
        push_bytes: bytes + 32,
        pull: one.pull,
        push: one.push,
        sync_mode: Default::default(),
    };
    JobModel::predicted(&lambda(), &shape, &STEP)
}

/// Mean relative errors of time, money and loss, each epoch predicted from the loss before it.
fn errors(model: &JobModel, before: &EpochRecord, epochs: &[EpochRecord]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let mut at = At {
        epoch: 0,
        progress: model.progress_at(before.evaluation.loss),
        memory_mb: Some(before.memory_mb),
    };
    for record in epochs {
        at.epoch = record.epoch;
        let to = Allocation::new(record.workers, record.memory_mb);
        let epoch = model.epoch(at, to, &Chance::EXPECTED);
        at.progress += epoch.progress;
        at.memory_mb = Some(record.memory_mb);
        let pairs = [
            (epoch.elapsed_s, record.elapsed_s),
            (epoch.cost_usd, record.cost_usd),
            (model.loss(at.progress), record.evaluation.loss),
        ];
        for (sum, (found, known)) in sums.iter_mut().zip(pairs) {
            *sum += (found / known - 1.0).abs() / epochs.len() as f64;
        }
    }
    sums
}

const SEEN: [(u32, u32); 4] = [(16, 1_024), (32, 512), (8, 1_769), (64, 1_024)];
const UNSEEN: [(u32, u32); 4] = [(24, 1_769), (48, 768), (12, 512), (100, 1_769)];

#[test]
fn a_model_that_was_fitted_to_epochs_predicts_the_next_ones_with_other_allocations() {
    for seed in [5, 6] {
        let turns: Vec<(u32, u32)> = SEEN.iter().chain(&SEEN).chain(&UNSEEN).copied().collect();
        let mut record = run(&turns, config(None, 12), seed);
        let later = record.epochs.split_off(8);
        let last = record.epochs[7].clone();
        let history = RunHistory::from(record);
        let prior = predicted();
        let before = errors(&prior, &last, &later);
        let from = JobModel::fit_from(&prior, &history).unwrap();
        let alone = JobModel::fit(&history).unwrap();
        println!("before anything ran: {before:.3?}");
        for (name, FittedModel { model, quality: said }, bound) in
            [("from a prediction", from, 0.1), ("from nothing", alone, 0.15)]
        {
            let found = errors(&model, &last, &later);
            println!("{name}: {found:.3?}, {said:.3?} {:?}", model.staleness);
            assert!(found.iter().all(|error| *error < bound), "{name}: {found:.3?}");
            assert!(said.fitted.time < 0.1 && said.fitted.cost < 0.1 && said.fitted.loss < 0.1);
        }
        assert!(before[0] < 0.15 && before[1] < 0.15, "{before:.3?}");
    }
}

#[test]
fn a_folder_is_read_whether_its_run_ended_or_not() {
    let folder = tempfile::tempdir().unwrap();
    run(&SEEN, config(Some(folder.path().into()), 5), 5);
    let whole = RunHistory::read(folder.path()).unwrap();
    assert_eq!(whole.epochs(), 5);
    let fitted = JobModel::fit(&whole).unwrap().model;
    // The run as it was before it ended; an older record lies beside it.
    let lines = folder.path().join("history.jsonl");
    let text = std::fs::read_to_string(&lines).unwrap();
    let cut = text.find("\"finished\"").and_then(|at| text[..at].rfind('\n')).unwrap();
    std::fs::write(&lines, &text[..=cut]).unwrap();
    let part = RunHistory::read(folder.path()).unwrap();
    assert_eq!(part.epochs(), 5);
    let again = JobModel::fit(&part).unwrap().model;
    assert_eq!((again.loss, again.compute), (fitted.loss, fitted.compute));
    // Without a checkpoint, less is known, but the epochs are.
    std::fs::remove_file(folder.path().join("checkpoint")).unwrap();
    assert_eq!(RunHistory::read(folder.path()).unwrap().epochs(), 5);
    JobModel::fit(&RunHistory::read(folder.path()).unwrap()).unwrap();
}

/// The prediction with all times and costs multiplied by this factor.
fn wrong(by: f64) -> JobModel {
    let mut model = predicted();
    model.compute.vcpu_seconds *= by;
    model.update.latency_s *= by;
    model.fetch.batch_s *= by;
    model.fees.call_usd *= by;
    model.fees.update_usd *= by;
    model.fees.epoch_usd *= by;
    model
}

#[test]
fn whose_model_was_wrong_threefold_overspends_nothing() {
    let usual = run(&SEEN[..1], config(None, 6), 5).outcome.cost_usd;
    for (by, part) in [(1.0 / 3.0, 0.6), (1.0 / 3.0, 1.1), (3.0, 0.6), (3.0, 1.1)] {
        let budget = usual * part;
        let planner = Planner::new(wrong(by).with_target(0.69, 0.25, 4.0));
        let planners: [(&str, Box<dyn Scheduler>); 2] =
            [("plain", Box::new(planner)), ("learning", Box::new(Adaptive::planner(wrong(by))))];
        for (name, planner) in planners {
            let mut config = config(None, 6);
            config.stop.target_loss = Some(0.25);
            config.stop.budget = Some(Usd::new(budget));
            let (trained, bill) = run_by(planner, config, 5);
            let outcome = &trained.outcome;
            let workers: Vec<_> =
                trained.record.epochs.iter().map(|e| (e.workers, e.memory_mb)).collect();
            let time: f64 = trained.record.epochs.iter().map(|e| e.elapsed_s).sum();
            println!(
                "{name}, wrong by {by:.2}, {:.0} % of ${budget:.5} in {time:.0} s: {}, loss {:.3}, \
                 {workers:?}",
                outcome.cost.dollars() / budget * 100.0,
                outcome.reason,
                outcome.evaluation.loss
            );
            assert!(outcome.cost.dollars() <= budget, "{name}, {by}: {outcome:?}");
            assert!(bill.cost <= outcome.cost + Usd::new(1e-12), "{name}, {by}: {bill:?}");
            assert!(outcome.epochs > 0, "{name}, {by}: {outcome:?}");
        }
    }
}
