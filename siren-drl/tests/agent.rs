//! Facts of the learned scheduler.
#![cfg(feature = "agent")]

use std::sync::Arc;

use siren_core::conformance::{scheduler, scheduler_tests};
use siren_core::{Allocation, ErrorKind, Platform, Seed};
use siren_drl::agent::{Agent, Training, TrainingSettings};
use siren_drl::model::{At, Chance, Dynamics, Epoch};
use siren_drl::{JobModel, SchedulingTask, Score, optimum, play};

fn task(budget: f64) -> Arc<SchedulingTask> {
    Arc::new(SchedulingTask::new(JobModel::named("seed").unwrap(), budget).unwrap())
}

fn short(steps: u64) -> TrainingSettings {
    TrainingSettings { steps, evaluate_episodes: 32, ..TrainingSettings::ppo() }
}

/// Fastest with 200 functions of 1,024 MB, and over after one epoch.
struct OneEpoch(Platform);

impl Dynamics for OneEpoch {
    fn platform(&self) -> &Platform {
        &self.0
    }

    fn loss(&self, progress: f64) -> f64 {
        2.0 - progress
    }

    fn progress_at(&self, loss: f64) -> f64 {
        (2.0 - loss).max(0.0)
    }

    fn epoch(&self, _: At, allocation: Allocation, _: &Chance) -> Epoch {
        let far = |x: u32, best: f64| (f64::from(x) / best).ln().powi(2);
        let elapsed_s = 1.0 + far(allocation.workers, 200.0) + far(allocation.memory_mb, 1_024.0);
        let cost_usd = f64::from(allocation.workers) * 1e-3;
        Epoch { elapsed_s, cost_usd, progress: 1.0, ..Epoch::default() }
    }
}

#[test]
fn a_problem_of_one_step_is_solved_from_ten_seeds() {
    let task = Arc::new(SchedulingTask {
        job: Arc::new(OneEpoch(Platform::aws_lambda())),
        target_loss: 1.0,
        ..SchedulingTask::clone(&task(5.0))
    });
    let task = Arc::new(SchedulingTask {
        bounds: siren_drl::Bounds::of(task.job.platform()),
        ..(*task).clone()
    });
    for seed in 0..10 {
        let settings = TrainingSettings {
            rate: 3e-3,
            critic_first: 1,
            average: 0.8,
            horizon: 32,
            ..short(25_000)
        };
        let mut training = Training::new(&[Arc::clone(&task)], settings, Seed::new(seed)).unwrap();
        training.run().unwrap();
        let score = Score::of(&training.agent().unwrap().play(&task, 8, Seed::new(1)).unwrap());
        assert_eq!(score.success, 1.0);
        assert!(score.time_s < 1.05, "seed {seed}: {score:?}");
    }
}

#[test]
fn an_agent_learns_to_beat_every_constant_allocation_and_comes_near_the_optimum() {
    let task = task(200.0);
    let mut training = Training::new(&[Arc::clone(&task)], short(250_000), Seed::new(11)).unwrap();
    training.run().unwrap();
    let score = Score::of(&training.agent().unwrap().play(&task, 64, Seed::new(5)).unwrap());
    let best = optimum(&task).unwrap();
    assert!(score.success >= 0.98 && score.time_s < 1.05 * best.upper_s, "{score:?}");
    assert!(score.time_s > best.lower_s, "better than the lower bound: {score:?}");
    // As a scheduler, one job after the other, the agent does the same as in episodes played
    // together.
    let agent = training.agent().unwrap();
    let model = || JobModel::named("seed").unwrap();
    let used = Score::measure(|| agent.scheduler(model()), &task, 40, Seed::new(5)).unwrap();
    let played = Score::of(&agent.play(&task, 40, Seed::new(5)).unwrap());
    assert_eq!(used.success, played.success);
    assert!((used.time_s / played.time_s - 1.0).abs() < 1e-3, "{used:?}, {played:?}");
}

#[test]
fn a_budget_that_its_margin_makes_infeasible_is_refused() {
    let settings = TrainingSettings { margin: 0.98, ..short(1_000) };
    let error = Training::new(&[task(63.0)], settings, Seed::new(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Budget);
}

#[test]
fn settings_that_learn_nothing_are_named() {
    let ppo = TrainingSettings::ppo();
    for (name, settings) in [
        ("average", TrainingSettings { average: 1.0, ..ppo }),
        ("margin", TrainingSettings { margin: 0.0, ..ppo }),
        ("minibatch", TrainingSettings { minibatch: 1, ..ppo }),
        ("log_sigma", TrainingSettings { log_sigma: f32::NAN, ..ppo }),
        ("clip_norm", TrainingSettings { clip_norm: 0.0, ..ppo }),
        ("environments", TrainingSettings { environments: 0, ..ppo }),
        ("gamma", TrainingSettings { gamma: 1.5, ..ppo }),
        ("rate", TrainingSettings { rate: f32::INFINITY, ..ppo }),
    ] {
        let error = Training::new(&[task(200.0)], settings, Seed::new(1)).err().unwrap();
        assert!(error.message().contains(name), "{error}");
    }
    let error = Training::new(&[], ppo, Seed::new(1)).err().unwrap();
    assert!(error.message().contains("no task"), "{error}");
}

#[test]
fn a_training_that_goes_on_keeps_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let middle = folder.path().join("middle");
    let settings =
        TrainingSettings { evaluate_every: 1, evaluate_episodes: 2, horizon: 8, ..short(128 * 4) };
    let training = Training::new(&[task(200.0)], settings, Seed::new(1)).unwrap();
    let mut training = training.log_to(folder.path()).unwrap();
    training.iterate().unwrap();
    training.iterate().unwrap();
    training.save(&middle).unwrap();
    drop(training);
    let resumed = Training::resume(&middle, &[task(200.0)]).unwrap();
    resumed.log_to(folder.path()).unwrap().run().unwrap();
    let log = std::fs::read_to_string(folder.path().join("training.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 4, "{log}");
}

#[test]
fn an_infeasible_budget_is_refused_with_the_least_that_would_do() {
    let error = Training::new(&[task(50.0)], short(1_000), Seed::new(1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Budget);
    assert!(error.message().contains("$62."), "{error}");
}

#[test]
fn a_training_that_is_resumed_goes_on_to_the_last_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (middle, ends) = (folder.path().join("middle"), ["a", "b"].map(|n| folder.path().join(n)));
    let tasks = [task(200.0), task(120.0)];
    let settings = TrainingSettings {
        evaluate_every: 2,
        evaluate_episodes: 4,
        critic_first: 1,
        horizon: 40,
        ..short(640 * 8)
    };
    let mut training = Training::new(&tasks, settings, Seed::new(4)).unwrap();
    for _ in 0..4 {
        training.iterate().unwrap();
    }
    training.save(&middle).unwrap();
    training.run().unwrap();
    training.save(&ends[0]).unwrap();
    let mut resumed = Training::resume(&middle, &tasks).unwrap();
    resumed.run().unwrap();
    resumed.save(&ends[1]).unwrap();
    assert!(resumed.steps() == 640 * 8 && !resumed.evaluations().is_empty());
    assert_eq!(training.evaluations(), resumed.evaluations());
    let [a, b] = ends.map(|path| std::fs::read(path).unwrap());
    // Random state, environments, normalisation.
    let about = |bytes: &[u8]| {
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
        header.metadata().as_ref().unwrap()["siren.agent"].clone()
    };
    assert!(about(&a) == about(&b), "all but weights differs");
    let tensors = |bytes: &[u8]| {
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let mut all: Vec<(String, Vec<u8>)> =
            file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
        all.sort();
        all
    };
    assert!(tensors(&a) == tensors(&b), "weights differ");
    // Files of a training with other tasks.
    let error = Training::resume(&middle, &[task(200.0)]).err().unwrap();
    assert!(error.message().contains("other tasks"), "{error}");
    let etl =
        |budget| Arc::new(SchedulingTask::new(JobModel::named("etl").unwrap(), budget).unwrap());
    let error = Training::resume(&middle, &[etl(200.0), etl(120.0)]).err().unwrap();
    assert!(error.message().contains("other tasks"), "{error}");
    std::fs::write(&middle, "nonsense").unwrap();
    let error = Training::resume(&middle, &tasks).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(Agent::load(&middle).err().unwrap().kind(), ErrorKind::Corrupt);
    assert_eq!(Agent::load(folder.path().join("none")).err().unwrap().kind(), ErrorKind::Other);
}

fn trained() -> Agent {
    let settings = TrainingSettings { log_sigma: -1.0, ..short(12_000) };
    let mut training = Training::new(&[task(200.0)], settings, Seed::new(2)).unwrap();
    training.run().unwrap();
    training.agent().unwrap()
}

#[test]
fn an_agent_decides_alike_after_it_was_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.safetensors");
    let agent = trained();
    agent.save(&path).unwrap();
    let loaded = Agent::load(&path).unwrap();
    assert_eq!(agent.settings(), loaded.settings());
    let task = task(200.0);
    let model = || JobModel::named("seed").unwrap();
    let [one, other] = [&agent, &loaded]
        .map(|agent| play(&mut agent.scheduler(model()), &task, Seed::new(8)).unwrap());
    assert_eq!(one, other);
    assert!(one.allocations.len() > 90, "{one:?}");
}

#[test]
fn equal_seeds_train_equal_agents_and_others_do_not() {
    let train = |seed| {
        let settings = TrainingSettings { evaluate_every: 2, horizon: 16, ..short(1_024) };
        let mut training = Training::new(&[task(200.0)], settings, Seed::new(seed)).unwrap();
        training.run().unwrap();
        training.evaluations().to_vec()
    };
    assert_eq!(train(1), train(1));
    assert_ne!(train(1), train(2));
}

#[test]
fn a_warm_start_begins_near_the_planner() {
    let task = task(200.0);
    let settings = TrainingSettings { warm_start: 12, ..short(1_536) };
    let mut training = Training::new(&[Arc::clone(&task)], settings, Seed::new(3)).unwrap();
    training.run().unwrap();
    let score = Score::of(&training.play(&task, 32, Seed::new(5)).unwrap());
    let best = optimum(&task).unwrap();
    assert!(score.time_s < 1.06 * best.upper_s, "{score:?}");
}

#[test]
fn reinforce_learns_too() {
    let task = task(200.0);
    let settings =
        TrainingSettings { steps: 150_000, evaluate_episodes: 32, ..TrainingSettings::reinforce() };
    let mut training = Training::new(&[Arc::clone(&task)], settings, Seed::new(1)).unwrap();
    training.run().unwrap();
    let first = Score::of(
        &Training::new(&[Arc::clone(&task)], settings, Seed::new(1))
            .unwrap()
            .play(&task, 32, Seed::new(5))
            .unwrap(),
    );
    let score = Score::of(&training.agent().unwrap().play(&task, 32, Seed::new(5)).unwrap());
    assert!(score.success > 0.9 && score.time_s < 0.95 * first.time_s, "{first:?}, {score:?}");
}

scheduler_tests!(learned, {
    let agent = trained();
    scheduler::Subject::new(move || agent.scheduler(JobModel::default()))
});
