//! The forecasts of previews agree with the simulator.

use std::sync::Arc;

use siren::backend::ShardWorker;
use siren::data::Batch;
use siren::data::MemorySource;
use siren::metrics::Metrics;
use siren::platform::StepTime;
use siren::preview::{Preview, PreviewInput};
use siren::store::MemoryStore;
use siren::{
    Config, FixedScheduler, Layout, Result, RunRecord, Seed, StopReason, StopRules, SyncMode,
    Trainer, TrainerParts, Usd, Workload,
};
use siren_backend_sim::{SimBackend, SimStore, Simulation};
use siren_core::platform::Tail;

/// A dense model whose gradients are all zero.
struct Idle(Layout);

impl Idle {
    fn new(parameters: usize) -> Arc<Self> {
        Arc::new(Self(Layout::flat("idle", parameters).unwrap()))
    }
}

impl Workload for Idle {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.0.dim()])
    }

    fn gradient(&self, _: &[f32], _: &Batch<'_>, _: Seed, gradient: &mut [f32]) -> Result<f64> {
        gradient.fill(0.0);
        Ok(1.0)
    }

    fn evaluate(&self, _: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        metrics.add_loss(batch.examples as u64, 1.0);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    workers: u32,
    memory_mb: u32,
    local_steps: u64,
    sync_mode: SyncMode,
    parameters: usize,
    batches: u64,
    /// The time of a batch at one vCPU, in seconds.
    batch_s: f64,
}

const CASE: Case = Case {
    workers: 1,
    memory_mb: 1_769,
    local_steps: 1,
    sync_mode: SyncMode::Hybrid,
    parameters: 10,
    batches: 100,
    batch_s: 0.01,
};

/// The bytes of an example; a batch is one example.
const EXAMPLE: u64 = 784;

const EPOCHS: u64 = 4;

impl Case {
    fn config(&self, budget: Option<Usd>) -> Config {
        Config {
            batch_size: 1,
            local_steps: self.local_steps,
            sync_mode: self.sync_mode,
            stop: StopRules { epochs: EPOCHS, budget, ..StopRules::default() },
            ..Config::default()
        }
    }

    /// AWS Lambda, without the rare delays of seconds if there are few runs to average.
    fn simulation(&self) -> Simulation {
        let mut simulation = Simulation::lambda(StepTime::per_example(self.batch_s));
        if self.runs() == 1 {
            simulation.profile.storage.tail_ms = Tail::NONE;
        }
        simulation
    }

    fn runs(&self) -> u64 {
        if self.parameters > 1_000 { 1 } else { 12 }
    }

    fn preview(&self, budget: Option<Usd>) -> Preview {
        let subject =
            PreviewInput::new(self.parameters as u64, self.batches, self.batches * EXAMPLE)
                .with_workers([self.workers])
                .with_memory([self.memory_mb]);
        let Simulation { profile, step, .. } = self.simulation();
        Preview::new(&self.config(budget), &subject, &profile, &step).unwrap()
    }

    fn simulate(&self, budget: Option<Usd>, seed: u64) -> RunRecord {
        let workload = Idle::new(self.parameters);
        let bytes = vec![0; (self.batches * EXAMPLE) as usize];
        let data = Arc::new(MemorySource::new(bytes, EXAMPLE as usize).unwrap());
        let store = Arc::new(MemoryStore::initialised(&*workload, 1).unwrap());
        let sim = SimBackend::functions(
            Arc::new(ShardWorker::new(workload.clone())),
            SimStore::Ideal(store),
            data,
            self.simulation(),
            Seed::new(seed),
        );
        let sim = Arc::new(sim.unwrap());
        let parts = TrainerParts {
            workload,
            train: sim.data(),
            held_out: None,
            store: sim.store(),
            backend: sim.clone(),
            scheduler: Box::new(FixedScheduler::new(self.workers, self.memory_mb)),
        };
        let trainer = Trainer::new(parts, self.config(budget)).unwrap();
        sim.run(trainer.run()).unwrap().unwrap().record
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let all: Vec<f64> = values.collect();
    all.iter().sum::<f64>() / all.len() as f64
}

/// Compares a case's preview with runs of the simulator: times within 15 %, money within 5 %.
fn compare(case: Case) {
    let preview = case.preview(None);
    let row = &preview.rows[0];
    let runs: Vec<RunRecord> = (0..case.runs()).map(|seed| case.simulate(None, seed)).collect();
    let warm = || runs.iter().flat_map(|run| &run.epochs[1..]);
    let pairs = [
        ("s an epoch", row.epoch_seconds, mean(warm().map(|epoch| epoch.elapsed_s)), 0.15),
        ("$ an epoch", row.epoch_cost.dollars(), mean(warm().map(|epoch| epoch.cost_usd)), 0.05),
        ("s in all", row.seconds, mean(runs.iter().map(|run| run.outcome.elapsed_s)), 0.15),
        ("$ in all", row.cost.dollars(), mean(runs.iter().map(|run| run.outcome.cost_usd)), 0.05),
    ];
    for (what, expected, simulated, _) in pairs {
        let ratio = expected / simulated;
        println!(
            "{what}: {expected:.3e} expected, {simulated:.3e} simulated, {ratio:.3}  {case:?}"
        );
    }
    for (what, expected, simulated, most) in pairs {
        let ratio = expected / simulated;
        assert!((ratio - 1.0).abs() < most, "{what}: {ratio:.3} {case:?}");
    }
}

#[test]
fn small_models_take_and_cost_what_was_expected() {
    compare(CASE);
    compare(Case { memory_mb: 256, local_steps: 4, ..CASE });
    compare(Case { workers: 10, memory_mb: 256, batches: 400, ..CASE });
    compare(Case { workers: 100, batches: 2_000, batch_s: 0.02, ..CASE });
    compare(Case { workers: 100, memory_mb: 256, local_steps: 4, batches: 2_030, ..CASE });
}

#[test]
fn models_of_400_000_parameters_take_and_cost_what_was_expected() {
    let large = Case { parameters: 400_000, batch_s: 0.02, ..CASE };
    compare(Case { local_steps: 4, batches: 60, ..large });
    compare(Case { workers: 10, memory_mb: 256, batches: 205, batch_s: 0.05, ..large });
    compare(Case { workers: 100, local_steps: 2, batches: 400, ..large });
    compare(Case { workers: 100, memory_mb: 256, local_steps: 8, batches: 850, ..large });
}

#[test]
fn rounds_take_and_cost_what_was_expected() {
    let bulk = Case { sync_mode: SyncMode::Bulk, ..CASE };
    compare(Case { workers: 10, batches: 400, ..bulk });
    compare(Case { workers: 100, memory_mb: 256, local_steps: 4, batches: 2_000, ..bulk });
}

#[test]
fn the_least_budget_suffices_and_less_than_the_cost_does_not() {
    for workers in [1, 10, 50] {
        let case = Case { workers, batches: 400, local_steps: 2, ..CASE };
        let preview = case.preview(None);
        for seed in 0..4 {
            let enough = case.simulate(Some(preview.least * 1.05), seed);
            assert_eq!(enough.outcome.reason, StopReason::Epochs, "{:?}", enough.outcome);
            let cost = preview.rows[0].cost * 0.8;
            let short = case.simulate(Some(cost), seed);
            assert_eq!(short.outcome.reason, StopReason::Budget, "{:?}", short.outcome);
            assert!(!case.preview(Some(cost)).sufficient);
        }
    }
}
