//! Simulated runs: real training in virtual time.

mod support;

use std::sync::Arc;
use std::time::Duration;

use rand_distr::{Distribution as _, Uniform};
use siren::backend::{Backend, ShardWorker};
use siren::data::MemorySource;
use siren::platform::{Distribution, Profile};
use siren::platform::{Machine, StepTime};
use siren::scheduler::{Allocation, Job, Observation, Scheduler};
use siren::store::{MemoryStore, Requests};
use siren::{
    Config, FixedScheduler, Outcome, Result, Retry, Seed, StopReason, StopRules, SyncMode, Trainer,
    TrainerParts, TrainingResult, Usd,
};
use siren_backend_sim::{Bill, Fault, Faults, SimBackend, SimStore, Simulation};
use support::{Linear, rows};

/// The settings of a test.
struct Case {
    simulation: Simulation,
    config: Config,
    scheduler: Box<dyn Scheduler>,
    train: Arc<MemorySource>,
    threads: usize,
    seed: u64,
}

impl Case {
    fn new(workers: u32, memory_mb: u32) -> Self {
        Self {
            simulation: Simulation::lambda(StepTime::per_example(1e-4)),
            config: Config {
                stop: StopRules { epochs: 2, ..StopRules::default() },
                evaluate_threads: Some(1),
                ..Config::default()
            },
            scheduler: Box::new(FixedScheduler::new(workers, memory_mb)),
            train: rows(1_003),
            threads: 1,
            seed: 5,
        }
    }

    fn run(self) -> (Result<TrainingResult>, Bill) {
        let workload = Linear::new();
        let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
        let worker = Arc::new(ShardWorker::new(workload.clone()));
        let sim = SimBackend::functions(
            worker,
            SimStore::Ideal(store),
            self.train,
            self.simulation,
            Seed::new(self.seed),
        );
        let sim = Arc::new(sim.unwrap().with_threads(self.threads).unwrap());
        let parts = TrainerParts {
            workload,
            train: sim.data(),
            held_out: Some(rows(100)),
            store: sim.store(),
            backend: sim.clone(),
            scheduler: self.scheduler,
        };
        let trained = sim.run(Trainer::new(parts, self.config).unwrap().run()).unwrap();
        (trained, sim.bill())
    }

    fn trained(self) -> TrainingResult {
        self.run().0.unwrap()
    }
}

#[test]
fn two_runs_are_the_same_byte_for_byte_whatever_the_threads() {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk, SyncMode::Stale { bound: 1 }] {
        let records = [1, 1, 2, 5].map(|threads| {
            let folder = tempfile::tempdir().unwrap();
            let mut case = Case::new(7, 512);
            case.threads = threads;
            case.config.sync_mode = sync_mode;
            case.config.evaluate_threads = Some(threads);
            case.config.out = Some(folder.path().into());
            case.simulation.faults = Faults {
                lost: 0.05,
                request_lost: 0.02,
                request_timeout_s: 0.5,
                crashes_per_hour: 500.0,
                ..Faults::default()
            };
            let trained = case.trained();
            assert_eq!(trained.outcome.reason, StopReason::Epochs);
            std::fs::read(folder.path().join("run.json")).unwrap()
        });
        for record in &records {
            assert!(record == &records[0], "{sync_mode:?}: two runs leave different records");
        }
    }
    let another = |seed| {
        let mut case = Case::new(7, 512);
        case.seed = seed;
        case.trained().record.outcome.elapsed_s
    };
    assert_ne!(another(1), another(2), "chances do not depend on the seed");
}

#[test]
fn one_simulated_worker_learns_the_same_as_a_local_one_to_the_last_bit() {
    for local_steps in [1, 3] {
        let config = Config {
            local_steps,
            stop: StopRules { epochs: 3, ..StopRules::default() },
            evaluate_threads: Some(1),
            ..Config::default()
        };
        let mut case = Case::new(1, 700);
        case.config = config.clone();
        let simulated = case.trained();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = runtime.block_on(async {
            let (workload, train) = (Linear::new(), rows(1_003));
            let scheduler = FixedScheduler::new(1, 1_769);
            let trainer =
                siren::local(workload, train, Some(rows(100))).scheduler(scheduler).config(config);
            trainer.build().unwrap().run().await.unwrap()
        });
        assert_eq!(simulated.values, local.values);
        assert_eq!(simulated.outcome.evaluation.loss, local.outcome.evaluation.loss);
    }
}

/// A platform without randomness, with times in whole milliseconds: bills can be computed by hand.
fn by_hand() -> Simulation {
    let mut profile = Profile::instant();
    profile.starts.cold_ms = Distribution::constant(200.0);
    profile.starts.warm_ms = Distribution::constant(50.0);
    profile.starts.init_ms = Distribution::constant(15.0);
    profile.storage.get_ms = Distribution::constant(30.0);
    profile.storage.put_ms = Distribution::constant(40.0);
    Simulation { profile, step: StepTime::per_example(1e-3), ..Simulation::default() }
}

/// One worker, with its memory doubled in each epoch.
struct Growing;

impl Scheduler for Growing {
    fn allocate(&mut self, _: &Job, observation: &Observation) -> Result<Allocation> {
        Ok(Allocation::new(1, 1_769 << observation.epoch))
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, _: &Outcome) {}
}

#[track_caller]
fn costs(case: Case, by_hand: f64) {
    let (trained, bill) = case.run();
    let booked = trained.unwrap().outcome.cost.dollars();
    // To the millionth of a cent.
    assert!((booked - by_hand).abs() < 1e-8, "{booked} is booked, {by_hand} is right");
    assert!(
        (bill.cost.dollars() - by_hand).abs() < 1e-8,
        "{bill:?} is charged, {by_hand} is right"
    );
}

#[test]
fn three_bills_are_what_they_are_by_hand() {
    const GB_SECOND: f64 = 0.000_016_666_7;
    const CALL: f64 = 0.2e-6;
    const GET: f64 = 0.4e-6;
    const PUT: f64 = 5e-6;

    // One function of 1,769 MB, with 4 batches of 32 examples, each of 32 ms. It waits 30 ms for
    // its first pull and its first data. Each later pull takes 30 ms; the next data arrive during
    // the computation.
    let mut one = Case::new(1, 1_769);
    one.simulation = by_hand();
    one.train = rows(128);
    one.config.stop.epochs = 1;
    let handler: f64 = 4.0 * (30.0 + 32.0 + 40.0) + 30.0;
    let billed = (handler + 15.0) / 1e3;
    let time = billed * 1_769.0 / 1_024.0 * GB_SECOND;
    costs(one, time + CALL + 8.0 * GET + 4.0 * PUT);

    // Two functions with an eighth of a vCPU: two batches of 64 examples each, 512 ms per batch.
    // The second epoch is warm: no INIT.
    let mut two = Case::new(2, 1_769 / 8);
    two.simulation = by_hand();
    two.simulation.profile.platform.limits.memory_per_vcpu_mb = f64::from(1_769 / 8 * 8);
    two.train = rows(256);
    two.config.batch_size = 64;
    let handler: f64 = 2.0 * (30.0 + 512.0 + 40.0) + 30.0;
    let gb = f64::from(1_769 / 8) / 1_024.0;
    let time = 2.0 * (handler + 15.0 + handler) / 1e3 * gb * GB_SECOND;
    costs(two, time + 4.0 * CALL + 16.0 * GET + 8.0 * PUT);

    // Two local steps for each push: two pushes for three batches. The second epoch has another
    // memory size: both epochs start cold, and a version must be published, which is not billed.
    let mut steps = Case::new(1, 1_769);
    steps.simulation = by_hand();
    steps.simulation.profile.starts.publish_s = 5.0;
    steps.train = rows(96);
    steps.config.local_steps = 2;
    steps.scheduler = Box::new(Growing);
    let handler: f64 = 2.0 * (30.0 + 40.0) + 3.0 * 32.0 + 30.0;
    let gb_seconds = (handler + 15.0) / 1e3 * (1_769.0 + 3_538.0) / 1_024.0;
    costs(steps, gb_seconds * GB_SECOND + 2.0 * CALL + 2.0 * (5.0 * GET + 2.0 * PUT));
}

#[test]
fn no_worker_is_cut_short_in_the_first_epoch_because_storage_is_slow() {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk] {
        let mut case = Case::new(4, 1_769);
        case.config.batch_size = 4;
        case.config.sync_mode = sync_mode;
        case.config.stop.epochs = 1;
        let epoch = case.trained().record.epochs.remove(0);
        assert!(epoch.elapsed_s > 5.0, "storage answers too fast to tell: {} s", epoch.elapsed_s);
        assert_eq!(epoch.retries, 0, "{sync_mode:?}");
    }
}

#[test]
fn a_machine_bills_its_time_once_however_many_workers_share_it() {
    let workload = Linear::new();
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let (machine, train) = (Machine::m4_large(), rows(1_024));
    let sim = SimBackend::machine(
        Arc::new(ShardWorker::new(workload.clone())),
        store.clone(),
        train.clone(),
        machine.clone(),
        StepTime::per_example(1e-3),
    );
    let sim = Arc::new(sim.unwrap());
    let parts = TrainerParts {
        workload,
        train: sim.data(),
        held_out: None,
        store,
        backend: sim.clone(),
        scheduler: Box::new(FixedScheduler::new(8, machine.memory_mb)),
    };
    let config =
        Config { stop: StopRules { epochs: 3, ..StopRules::default() }, ..Config::default() };
    let trained = sim.run(Trainer::new(parts, config).unwrap().run()).unwrap().unwrap();
    // 1,024 examples of 1 ms on two vCPUs, three times.
    let elapsed: f64 = trained.record.epochs.iter().map(|epoch| epoch.elapsed_s).sum();
    assert!((elapsed - 3.0 * 0.512).abs() < 1e-6, "{elapsed} s");
    let cost = trained.outcome.cost.dollars();
    assert!((cost - elapsed * 0.10 / 3_600.0).abs() < 1e-9, "${cost}");
    assert!(trained.record.epochs[0].queue_s > 0.0, "eight workers never wait for two vCPUs");
}

/// Runs with and without a fault. The faulty run ends normally, but takes longer or costs more.
fn survives(faults: Faults, workers: u32) {
    let case = |faults: &Faults| {
        let mut case = Case::new(workers, 512);
        case.config.sync_mode = SyncMode::Bulk;
        case.config.stop.epochs = 5;
        case.config.retry = Retry { attempts: 20, ..Retry::default() };
        case.simulation.faults = faults.clone();
        case.run()
    };
    let ((plain, plain_bill), (faulty, bill)) = (case(&Faults::default()), case(&faults));
    let (plain, faulty) = (plain.unwrap(), faulty.unwrap());
    assert_eq!(faulty.outcome.reason, StopReason::Epochs, "{faults:?}");
    assert_eq!(faulty.values, plain.values, "{faults:?} changes the trained parameters");
    let fired = faulty.outcome.elapsed > plain.outcome.elapsed
        || faulty.outcome.cost > plain.outcome.cost
        || bill != plain_bill;
    assert!(fired, "{faults:?} did not fire");
    assert!(faulty.outcome.cost.dollars() >= bill.cost.dollars() - 1e-12, "{faults:?} is unpaid");
}

/// Bulk mode waits for all workers, so that the trained parameters depend only on the seed.
#[test]
fn each_fault_is_survived_with_the_same_parameters() {
    let at = |fault| Faults { scheduled: vec![fault], ..Faults::default() };
    let by_chance = Faults { request_timeout_s: 0.3, ..Faults::default() };
    let all = [
        at(Fault::Lost { epoch: 0, shard: 2, attempt: 0 }),
        at(Fault::AnswerLost { epoch: 1, shard: 0, attempt: 0 }),
        at(Fault::Crash { at_s: 0.7, shard: Some(1) }),
        at(Fault::Crash { at_s: 0.9, shard: None }),
        at(Fault::Throttle { from_s: 0.0, until_s: 0.3 }),
        at(Fault::Slow { from_s: 0.5, until_s: 1.5, factor: 10.0 }),
        Faults { lost: 0.3, ..by_chance.clone() },
        Faults { answer_lost: 0.3, ..by_chance.clone() },
        Faults { throttled: 0.3, ..by_chance.clone() },
        Faults { crashes_per_hour: 2_000.0, ..by_chance.clone() },
        Faults { request_lost: 0.05, ..by_chance.clone() },
        Faults { request_answer_lost: 0.05, ..by_chance },
    ];
    for faults in all {
        survives(faults, 4);
    }
}

#[test]
fn ten_thousand_random_runs_with_faults_overspend_nothing() {
    let (mut by_budget, mut retries, mut ended) = (0, 0, 0);
    for run in 0..10_000_u64 {
        let mut draws = Uniform::new(0.0, 1.0).unwrap().sample_iter(Seed::new(run).rng());
        let mut draw = || draws.next().unwrap_or(0.0_f64);
        let budget = 10_f64.powf(-4.5 + 2.5 * draw());
        let mut case = Case::new(1 + (draw() * 6.0) as u32, 128 + (draw() * 3_000.0) as u32);
        case.train = rows(60);
        case.seed = run;
        case.config = Config {
            seed: run,
            batch_size: 1 + (draw() * 30.0) as u64,
            sync_mode: match (draw() * 3.0) as u32 {
                0 => SyncMode::Bulk,
                1 => SyncMode::Stale { bound: 1 },
                _ => SyncMode::Hybrid,
            },
            stop: StopRules { epochs: 2, budget: Some(Usd::new(budget)), ..StopRules::default() },
            retry: Retry { attempts: 10, ..Retry::default() },
            ..case.config
        };
        case.simulation.faults = Faults {
            lost: 0.1 * draw(),
            answer_lost: 0.1 * draw(),
            throttled: 0.1 * draw(),
            crashes_per_hour: 2_000.0 * draw(),
            request_lost: 0.02 * draw(),
            request_answer_lost: 0.02 * draw(),
            request_timeout_s: draw(),
            ..Faults::default()
        };
        let (trained, bill) = case.run();
        let charged = bill.cost.dollars();
        assert!(charged <= budget + 1e-12, "run {run} costs {charged} of {budget}");
        // Many faults in a row may end a run with an error that names the cause.
        let Ok(trained) = trained else { continue };
        let booked = trained.outcome.cost.dollars();
        assert!(booked <= budget + 1e-12, "run {run} books {booked} of {budget}");
        assert!(charged <= booked + 1e-12, "run {run} costs {charged} and books {booked}");
        ended += 1;
        by_budget += u64::from(trained.outcome.reason == StopReason::Budget);
        retries += trained.record.epochs.iter().map(|epoch| u64::from(epoch.retries)).sum::<u64>();
    }
    assert!(ended > 9_000, "only {ended} runs came to an end");
    assert!(retries > 1_000, "only {retries} retries: faults do not fire");
    assert!((500..9_500).contains(&by_budget), "{by_budget} runs ended by their budget");
}

#[test]
fn what_the_platform_does_not_have_is_refused_by_name() {
    for (workers, memory, name) in
        [(1, 100, "100 MB"), (1, 20_000, "20000 MB"), (2_000, 512, "2000")]
    {
        let error = Case { train: rows(2_000 * 32), ..Case::new(workers, memory) }.run().0;
        let error = error.unwrap_err();
        assert!(error.chain().contains(name), "{}", error.chain());
    }
    let mut heavy = Case::new(1, 128);
    heavy.simulation.profile.cpu.base_memory_mb = 300.0;
    let error = heavy.run().0.unwrap_err();
    assert!(error.chain().contains("needs about 300 MB"), "{}", error.chain());
    let mut long = Case::new(1, 512);
    long.config.run = "x".repeat(7 * 1024 * 1024);
    let error = long.run().0.unwrap_err();
    assert!(error.chain().contains("shorter name"), "{}", error.chain());
}

/// Without running the simulation, an invocation returns an error instead of waiting for ever.
#[tokio::test]
async fn outside_of_a_run_an_invocation_is_refused() {
    let (workload, train) = (Linear::new(), rows(64));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let simulation = Simulation::default();
    let sim_store = SimStore::Ideal(store);
    let sim = SimBackend::functions(worker, sim_store, train, simulation, Seed::new(0)).unwrap();
    let sim = Arc::new(sim);
    assert_eq!(sim.data().request_costs(), Requests { reads: 1, writes: 0 });
    let parts = TrainerParts {
        workload,
        train: sim.data(),
        held_out: None,
        store: sim.store(),
        backend: sim.clone(),
        scheduler: Box::new(FixedScheduler::new(1, 512)),
    };
    let error = Trainer::new(parts, Config::default()).unwrap().run().await.unwrap_err();
    assert!(error.chain().contains("SimBackend::run"), "{}", error.chain());
    assert_eq!(sim.clock().now().since_origin(), Duration::ZERO);
}
