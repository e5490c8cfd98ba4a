//! Runs that continue from a checkpoint, and checkpoints that cannot be used.

mod support;

use std::path::Path;
use std::sync::Arc;

use siren::backend::ShardWorker;
use siren::metrics::Metrics;
use siren::platform::{Distribution, Profile, StepTime};
use siren::store::MemoryStore;
use siren::{
    Checkpoint, Config, ErrorKind, FixedScheduler, HistoryEvent, Layout, LearningRate, LrClock,
    LrDecay, Optimizer, Result, Seed, StopReason, StopRules, Trainer, TrainerParts, TrainingResult,
    Usd, Workload, read_history,
};
use siren_backend_sim::{SimBackend, SimStore, Simulation};
use support::{FEATURES, Linear, parts, parts_on, quick, rows};

fn config(folder: &Path, epochs: u64) -> Config {
    Config {
        optimizer: Optimizer::ADAM,
        learning_rate: 0.02.into(),
        stop: StopRules { epochs, ..StopRules::default() },
        out: Some(folder.into()),
        ..quick()
    }
}

async fn start(config: Config) -> TrainingResult {
    let (parts, _, _) = parts(rows(500), FixedScheduler::new(1, 1_769), []);
    Trainer::new(parts, config).unwrap().run().await.unwrap()
}

async fn resume(config: Config) -> Result<TrainingResult> {
    let (parts, _, _) = parts(rows(500), FixedScheduler::new(1, 1_769), []);
    let folder = config.out.clone().unwrap();
    Trainer::resume(parts, config, Checkpoint::load(folder)?)?.run().await
}

#[tokio::test]
async fn a_resumed_run_equals_one_that_was_never_interrupted() {
    let (whole, parted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let never = start(config(whole.path(), 5)).await;
    let before = start(config(parted.path(), 2)).await;
    let after = resume(config(parted.path(), 5)).await.unwrap();
    // With Adam: parameters, moments and their count of steps continue from the checkpoint.
    assert_eq!(after.values, never.values);
    let epochs: Vec<u64> = after.record.epochs.iter().map(|epoch| epoch.epoch).collect();
    assert_eq!(epochs, [0, 1, 2, 3, 4]);
    assert_eq!(after.record.epochs[..2], before.record.epochs[..]);
    assert!(after.outcome.cost > before.outcome.cost);
    assert!(after.outcome.elapsed > before.outcome.elapsed);
}

#[tokio::test]
async fn money_that_was_reserved_when_the_driver_died_counts_as_spent() {
    let folder = tempfile::tempdir().unwrap();
    let before = start(config(folder.path(), 2)).await;
    let path = folder.path().join("history.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let died = HistoryEvent::Reserved { epoch: 2, usd: 0.5 };
    text.push_str(&serde_json::to_string(&died).unwrap());
    text.push('\n');
    std::fs::write(&path, text).unwrap();

    let mut config = config(folder.path(), 3);
    let after = resume(config.clone()).await.unwrap();
    assert!(after.outcome.cost > before.outcome.cost + Usd::new(0.5));
    assert!(after.outcome.cost < before.outcome.cost + Usd::new(0.501));
    // The money left of the budget reflects it, too.
    config.stop = StopRules { epochs: 4, budget: Some(Usd::new(0.5)), ..StopRules::default() };
    let broke = resume(config).await.unwrap();
    assert_eq!((broke.outcome.reason, broke.outcome.epochs), (StopReason::Budget, 3));
    assert!(read_history(&path).unwrap().len() > 5);
}

#[tokio::test]
async fn a_checkpoint_of_another_model_or_rule_is_refused() {
    struct Other(Layout);
    impl Workload for Other {
        fn layout(&self) -> &Layout {
            &self.0
        }
        fn init(&self, _: Seed) -> Result<Vec<f32>> {
            Ok(vec![0.0; self.dim()])
        }
        fn gradient(
            &self,
            _: &[f32],
            _: &siren::data::Batch<'_>,
            _: Seed,
            gradient: &mut [f32],
        ) -> Result<f64> {
            gradient.fill(0.0);
            Ok(0.0)
        }
        fn evaluate(&self, _: &[f32], _: &siren::data::Batch<'_>, _: &mut Metrics) -> Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    start(config(folder.path(), 1)).await;
    // As many parameters, but with another name.
    let other = Other(Layout::flat("others", FEATURES).unwrap());
    let store = Arc::new(MemoryStore::initialised(&other, 0).unwrap());
    let (parts, _, _) =
        parts_on(Arc::new(other), store, rows(500), FixedScheduler::new(1, 1_769), []);
    let checkpoint = Checkpoint::load(folder.path()).unwrap();
    let error = Trainer::resume(parts, config(folder.path(), 2), checkpoint).err().unwrap();
    assert!(error.message().contains("another model"), "{error}");

    // AdamW keeps as many vectors as Adam, with which the run was made.
    for optimizer in [Optimizer::Sgd, Optimizer::ADAGRAD, Optimizer::ADAMW] {
        let error = resume(Config { optimizer, ..config(folder.path(), 2) }).await.unwrap_err();
        assert!(error.message().contains("the same optimizer"), "{error}");
    }
}

#[tokio::test]
async fn a_damaged_checkpoint_is_refused_wherever_the_damage_is() {
    let folder = tempfile::tempdir().unwrap();
    start(config(folder.path(), 1)).await;
    let path = folder.path().join("checkpoint");
    let good = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        let error = Checkpoint::load(folder.path()).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}");
        assert!(error.message().contains(path.to_str().unwrap()), "{what}: {error}");
    };
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        refused(&bad, &format!("a flipped bit in byte {at}"));
    }
    for length in (0..good.len()).step_by(11) {
        refused(&good[..length], &format!("cut to {length} bytes"));
    }
    refused(&[&good[..], &[0]].concat(), "a byte too many");
    let mut older = good.clone();
    older[8] = 1;
    std::fs::write(&path, &older).unwrap();
    let error = Checkpoint::load(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let line = error.chain();
    let name = path.to_str().unwrap();
    for part in [name, "version 1,", "reads version 2", "start again without resuming"] {
        assert!(line.contains(part) && !line.contains('\n'), "{part} is missing: {line}");
    }
    std::fs::write(&path, &good).unwrap();
    Checkpoint::load(folder.path()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = Checkpoint::load(folder.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
}

#[tokio::test]
async fn an_out_folder_that_cannot_be_written_to_is_named_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let (parts, backend, _) = parts(rows(500), FixedScheduler::new(1, 1_769), []);
    let error = Trainer::new(parts, config(&file.join("out"), 1)).err().unwrap();
    assert!(error.message().contains("cannot make the folder"), "{error}");
    assert_eq!(backend.billed.total(), 0.0);
}

/// The averages of the noise continue from the checkpoint, so that the steps have the same factors,
/// and so does the progress, which the learning rate follows.
#[test]
fn a_resumed_run_of_many_workers_equals_one_that_was_never_interrupted() {
    let run = |folder: &Path, epochs: u64, resumes: bool| {
        let (workload, train) = (Linear::new(), rows(2_003));
        // Requests always take as long: chances would differ after a resume, since the functions
        // start cold.
        let mut profile = Profile::instant();
        profile.storage.get_ms = Distribution::constant(30.0);
        profile.storage.put_ms = Distribution::constant(40.0);
        let step = StepTime::per_example(1e-3);
        let simulation = Simulation { profile, step, ..Simulation::default() };
        let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
        let worker = Arc::new(ShardWorker::new(workload.clone()));
        let sim =
            SimBackend::functions(worker, SimStore::Ideal(store), train, simulation, Seed::new(5));
        let sim = Arc::new(sim.unwrap());
        let parts = TrainerParts {
            workload,
            train: sim.data(),
            held_out: Some(rows(100)),
            store: sim.store(),
            backend: sim.clone(),
            scheduler: Box::new(FixedScheduler::new(8, 1_769)),
        };
        let config = config(folder, epochs);
        let learning_rate = LearningRate {
            decay: LrDecay::Exponential { factor: 0.5 },
            clock: LrClock::Progress,
            ..config.learning_rate
        };
        let config = Config { evaluate_threads: Some(1), learning_rate, ..config };
        let trainer = match resumes {
            true => Trainer::resume(parts, config, Checkpoint::load(folder).unwrap()),
            false => Trainer::new(parts, config),
        };
        sim.run(trainer.unwrap().run()).unwrap().unwrap()
    };
    let (whole, parted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let never = run(whole.path(), 4, false);
    run(parted.path(), 2, false);
    let after = run(parted.path(), 4, true);
    assert!(never.record.epochs.iter().all(|epoch| epoch.step_factor < 1.0));
    assert_eq!(after.values, never.values);
}
