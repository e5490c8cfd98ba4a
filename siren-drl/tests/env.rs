//! Facts of the environment.

use std::sync::Arc;

use siren_core::{Allocation, Seed};
use siren_drl::{
    Environment, JobModel, PROFILES, Reward, SchedulingTask, State, Step, VectorEnvironment,
};

fn task(name: &str, budget: f64) -> Arc<SchedulingTask> {
    let task = SchedulingTask::new(JobModel::named(name).unwrap(), budget).unwrap();
    Arc::new(SchedulingTask { reward: Reward { beta: 1e-3, terminal: 2.0 }, ..task })
}

fn episode(environment: &mut Environment, action: Allocation) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        steps.push(environment.step(action));
        if steps.last().is_some_and(Step::done) {
            return steps;
        }
    }
}

const FEW: Allocation = Allocation::new(300, 3_008);

#[test]
fn rewards_are_the_papers() {
    let mut environment = Environment::new(task("seed", 200.0), Seed::new(1));
    let steps = episode(&mut environment, FEW);
    let (last, others) = steps.split_last().unwrap();
    assert!(last.info.success && last.terminated && !last.truncated);
    for step in others {
        assert!((step.reward + 1e-3 * step.state.elapsed_s).abs() < 1e-12);
    }
    assert!((last.reward - (2.0 - 1e-3 * last.state.elapsed_s)).abs() < 1e-12);
    let spent: f64 = steps.iter().map(|step| step.info.epoch.cost_usd).sum();
    assert!((last.state.budget_usd - (200.0 - spent)).abs() < 1e-9);
    let seconds: f64 = steps.iter().map(|step| step.state.elapsed_s).sum();
    assert!((last.info.elapsed_s - seconds).abs() < 1e-9);
}

#[test]
fn spent_money_terminates_and_spent_epochs_truncate_and_both_are_failures() {
    let everything = Allocation::new(3_000, 3_008);
    let mut environment = Environment::new(task("seed", 200.0), Seed::new(1));
    let bankrupt = *episode(&mut environment, everything).last().unwrap();
    assert!(bankrupt.terminated && !bankrupt.truncated && !bankrupt.info.success);
    assert!(bankrupt.state.budget_usd < 0.0 && bankrupt.reward < -2.0);
    assert_eq!(bankrupt.state.epoch, 29);
    let slow =
        Arc::new(SchedulingTask { epochs: 50, ..SchedulingTask::clone(&task("seed", 200.0)) });
    let mut environment = Environment::new(slow, Seed::new(1));
    let late = *episode(&mut environment, FEW).last().unwrap();
    assert!(late.truncated && !late.terminated && !late.info.success && late.reward < -2.0);
}

#[test]
fn a_seed_begins_the_same_episode_again_and_none_goes_on() {
    let mut environment = Environment::new(task("stale", 300.0), Seed::new(1));
    let first = episode(&mut environment, FEW);
    environment.reset(None);
    let second = episode(&mut environment, FEW);
    assert_ne!(first, second);
    let state = environment.reset(Some(Seed::new(1)));
    assert_eq!((state.epoch, state.budget_usd, state.allocation), (0, 300.0, None));
    assert_eq!(episode(&mut environment, FEW), first);
}

#[test]
fn an_environments_fate_depends_on_neither_its_neighbours_nor_the_thread() {
    let tasks = [task("seed", 200.0), task("etl", 100.0), task("noise-scale", 300.0)];
    let run = |mut vector: VectorEnvironment| {
        let mut steps = vec![Step::default(); vector.len()];
        let actions = vec![FEW; vector.len()];
        let mut all: Vec<Vec<Step>> = vec![Vec::new(); vector.len()];
        for _ in 0..250 {
            vector.step(&actions, &mut steps);
            all.iter_mut().zip(&steps).for_each(|(all, step)| all.push(*step));
        }
        all
    };
    let seed = Seed::new(9);
    let together = run(VectorEnvironment::new(&tasks, 6, 0, seed).unwrap());
    let (a, b) = std::thread::scope(|scope| {
        let part = |count, first| {
            let tasks = &tasks;
            scope.spawn(move || run(VectorEnvironment::new(tasks, count, first, seed).unwrap()))
        };
        let (a, b) = (part(2, 0), part(4, 2));
        (a.join().unwrap(), b.join().unwrap())
    });
    assert_eq!(together, [a, b].concat());
    // Each environment finished at least two episodes, and began the next one by itself.
    assert!(together.iter().all(|steps| steps.iter().filter(|step| step.done()).count() >= 2));
}

#[test]
fn a_vector_goes_on_from_where_it_was_saved() {
    let tasks = [task("seed", 200.0), task("etl", 100.0)];
    let mut vector = VectorEnvironment::new(&tasks, 5, 0, Seed::new(2)).unwrap();
    let (actions, mut steps) = ([FEW; 5], [Step::default(); 5]);
    for _ in 0..30 {
        vector.step(&actions, &mut steps);
    }
    let text = serde_json::to_string(&vector.save()).unwrap();
    let mut other = VectorEnvironment::new(&tasks, 5, 0, Seed::new(7)).unwrap();
    other.restore(serde_json::from_str(&text).unwrap()).unwrap();
    let mut others = [Step::default(); 5];
    for _ in 0..150 {
        vector.step(&actions, &mut steps);
        other.step(&actions, &mut others);
        assert_eq!(steps, others);
    }
    let mut fewer = VectorEnvironment::new(&tasks[..1], 5, 0, Seed::new(7)).unwrap();
    assert!((0..5).any(|one| other.state(one).1 == 1), "no environment has the second task");
    let error = fewer.restore(other.save()).unwrap_err();
    assert!(error.message().contains("of 1"), "{error}");
}

#[test]
fn a_step_allocates_no_memory() {
    let tasks = [task("seed", 200.0), task("stale", 300.0)];
    let mut vector = VectorEnvironment::new(&tasks, 16, 0, Seed::new(3)).unwrap();
    let (actions, mut steps) = ([FEW; 16], [Step::default(); 16]);
    let info = allocation_counter::measure(|| {
        for _ in 0..500 {
            vector.step(&actions, &mut steps);
        }
    });
    assert_eq!(info.count_total, 0);
    assert!(steps.iter().all(|step| step.state.epoch > 0));
}

/// The expected epoch is the average of random ones: time, cost and progress, in every named job.
#[test]
fn epochs_are_on_average_as_expected() {
    use siren_drl::model::{At, Chance, Dynamics};
    for (name, _) in PROFILES {
        let model = JobModel::named(name).unwrap();
        let mut rng = Seed::new(4).rng();
        for (workers, progress) in [(10, 0.0), (400, 50.0)] {
            let allocation = Allocation::new(workers, 1_536);
            let at = At { epoch: 3, progress, memory_mb: Some(1_536) };
            let known = model.epoch(at, allocation, &Chance::EXPECTED);
            let (mut time, mut cost, mut gain) = (0.0, 0.0, 0.0);
            for _ in 0..4_000 {
                let epoch = model.epoch(at, allocation, &Chance::draw(&mut rng));
                time += epoch.elapsed_s / 4_000.0;
                cost += epoch.cost_usd / 4_000.0;
                gain += epoch.progress / 4_000.0;
            }
            for (mean, known) in
                [(time, known.elapsed_s), (cost, known.cost_usd), (gain, known.progress)]
            {
                let off = (mean / known - 1.0).abs();
                assert!(off < 0.004, "{name}, {workers} functions: {mean}, not {known}");
            }
        }
    }
}

#[test]
fn states_are_within_the_observation_space_and_allocations_within_the_action_space() {
    for (name, _) in PROFILES {
        let task = task(name, 300.0);
        let space = task.observation_space();
        let mut environment = Environment::new(Arc::clone(&task), Seed::new(6));
        for workers in [1, 3_000, 77] {
            for memory_mb in [1, 128, 5_000] {
                environment.reset(None);
                let step = environment.step(Allocation::new(workers, memory_mb));
                for (part, range) in step.state.parts().iter().zip(&space) {
                    assert!(range.contains(part), "{name}: {part} is outside {range:?}");
                }
                assert!(step.state.allocation.is_some_and(|a| task.bounds.contains(a)));
            }
        }
    }
}

#[test]
fn a_state_survives_being_observed() {
    let mut environment = Environment::new(task("seed", 200.0), Seed::new(1));
    for _ in 0..3 {
        let state = *environment.state();
        let back = State::observed(&state.to_observation());
        assert_eq!(
            (back.epoch, back.loss, back.allocation),
            (state.epoch, state.loss, state.allocation)
        );
        // Durations are whole nanoseconds.
        for (a, b) in [
            (back.elapsed_s, state.elapsed_s),
            (back.compute_s, state.compute_s),
            (back.update_s, state.update_s),
            (back.budget_usd, state.budget_usd),
        ] {
            assert!((a - b).abs() < 1e-6, "{a}, not {b}");
        }
        environment.step(FEW);
    }
}
