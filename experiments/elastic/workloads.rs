//! The workloads, each with one setting for all numbers of functions.

use std::sync::Arc;

use siren_burn::BurnWorkload;
use siren_core::{DataSource, Optimizer, Result, Seed, StepTime, Workload};
use siren_data::SparseTable;
use siren_examples::sentences::SentenceLearner;
use siren_examples::sentences::reviews::{self, FOLDS, HeldOut, Reviews};
use siren_examples::tables::{self, Clicks};
use siren_examples::{mnist, steps};
use siren_experiments::lab::Job;
use siren_hsp::{Config, LrDecay, StopRules};
use siren_lenet::DigitLearner;
use siren_linear::SparseLogisticRegression;

use crate::cells::{Quality, Schedule, Store, Subject};
use crate::flags::{Command, Mode, Name};

/// The workloads that the flags name.
///
/// # Errors
///
/// Returns an error if data cannot be read.
pub(crate) fn subjects(command: &Command) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for name in command.workloads() {
        let of = match name {
            Name::Census => census(command)?,
            Name::Clicks => vec![clicks(command)?],
            Name::Lenet => lenet(command)?,
            Name::Sentences => vec![sentences(command)?],
        };
        // Census-kdd always has both.
        let over_objects: Vec<Subject> = match command.objects && name != Name::Census {
            true => of.iter().map(|one| one.over_objects(one.is_kept)).collect(),
            false => Vec::new(),
        };
        subjects.extend(of);
        subjects.extend(over_objects);
    }
    Ok(subjects)
}

/// The numbers of functions of the linear workloads.
const WORKERS: [u32; 5] = [1, 4, 20, 64, 200];
const QUICK: [u32; 3] = [1, 20, 64];

fn census(command: &Command) -> Result<Vec<Subject>> {
    let (train, test, base) = table(command, Clicks::CensusKdd)?;
    let target = if command.quick { 0.13 } else { 0.122 };
    let passes = if command.quick { |_| 4 } else { |_| 8 };
    let setting = Config {
        batch_size: command.batch_size.unwrap_or(8),
        optimizer: Optimizer::ADAGRAD,
        learning_rate: command.learning_rate.unwrap_or(0.1).into(),
        ..Config::default()
    };
    let workers = command.workers(&WORKERS, &QUICK);
    let mut ideal = Subject {
        name: "census-kdd".into(),
        about: about("Logistic regression on census-kdd", &train.source, &test.source, &setting),
        jobs: linear(command, train, test, &setting)?,
        store: Store::Ideal,
        modes: command.modes.clone(),
        schedules: Schedule::grid(&workers),
        decay: |_| LrDecay::Constant,
        passes,
        target: Some(target),
        limit: 2.0 * base,
        quality: Quality::Loss,
        shown: 0.2,
        is_kept: |_, _| true,
    };
    ideal.about += &format!(
        " The target is a held-out log loss of {target}. Always predicting the share of positives \
         gives {base:.4}."
    );
    let objects =
        ideal.over_objects(|mode, schedule| mode == Mode::Hybrid || schedule.is_constant_from(20));
    Ok(vec![ideal, objects])
}

fn clicks(command: &Command) -> Result<Subject> {
    let (train, test, base) = table(command, Clicks::ObdClick)?;
    let setting = Config {
        batch_size: command.batch_size.unwrap_or(8),
        optimizer: Optimizer::ADAGRAD,
        learning_rate: command.learning_rate.unwrap_or(0.04).into(),
        ..Config::default()
    };
    let about = about("Logistic regression on obd-click", &train.source, &test.source, &setting);
    Ok(Subject {
        name: "obd-click".into(),
        jobs: linear(command, train, test, &setting)?,
        store: Store::Ideal,
        modes: command.modes.clone(),
        schedules: Schedule::grid(&command.workers(&WORKERS, &QUICK)),
        decay: |_| LrDecay::Constant,
        passes: if command.quick { |_| 2 } else { |_| 5 },
        target: Some(base),
        limit: 2.0 * base,
        quality: Quality::Loss,
        shown: 2.0 * base,
        is_kept: |_, _| true,
        about: format!(
            "{about} The target is the base rate's log loss: always predicting the share of \
             clicks gives {base:.5}. The default learning rate is the one of 0.01, 0.03, 0.04, 0.05, \
             0.07 and 0.1 with the lowest log loss at the worst of 1, 20, 64 and 200 functions with \
             the noise rule."
        ),
    })
}

/// Training data, test data, and the log loss on test data of always predicting the share of
/// positives in the training data.
fn table(command: &Command, clicks: Clicks) -> Result<(SparseTable, SparseTable, f64)> {
    let (mut train, test) = tables::load_clicks(&command.data, clicks, None)?;
    let share = |table: &SparseTable| table.positives as f64 / table.source.len() as f64;
    let (predicted, positive) = (share(&train), share(&test));
    let base = -(positive * predicted.ln() + (1.0 - positive) * (1.0 - predicted).ln());
    if command.quick {
        train.source = train.source.take(12_000);
    }
    Ok((train, test, base))
}

fn linear(
    command: &Command,
    train: SparseTable,
    test: SparseTable,
    setting: &Config,
) -> Result<Vec<Job>> {
    let workload: Arc<dyn Workload> = Arc::new(SparseLogisticRegression::new(train.features)?);
    let (train, test) = (Arc::new(train.source), Arc::new(test.source));
    let jobs = (1..=command.repeats())
        .map(|seed| job(&workload, train.clone(), test.clone(), seed, setting, steps::CENSUS));
    Ok(jobs.collect())
}

/// Guessing among ten digits has a loss of 2.303. A network whose units are dead guesses, and its
/// loss lies on either side of that.
const STUCK: f64 = 2.25;

fn lenet(command: &Command) -> Result<Vec<Subject>> {
    let (train, test) = mnist::load(&mnist::bundled(), command.quick.then_some(2_048))?;
    let test = if command.quick { test.take(1_000) } else { test };
    let workload: Arc<dyn Workload> = Arc::new(BurnWorkload::new(DigitLearner)?);
    let (train, test) = (Arc::new(train), Arc::new(test));
    let subject = |name: &str, batch_size, schedules: Vec<Schedule>| {
        let setting = Config {
            batch_size,
            optimizer: Optimizer::ADAM,
            learning_rate: command.learning_rate.unwrap_or(0.001).into(),
            clip_norm: Some(1.0),
            ..Config::default()
        };
        Subject {
            name: name.into(),
            about: about("LeNet on MNIST", &*train, &*test, &setting) + FALLS,
            jobs: vec![job(&workload, train.clone(), test.clone(), 1, &setting, steps::LENET)],
            store: Store::Ideal,
            modes: command.modes.clone(),
            schedules,
            decay: cosine,
            passes: if command.quick { |_| 1 } else { |_| 3 },
            target: None,
            limit: STUCK,
            quality: Quality::Accuracy,
            shown: if command.quick { 2.5 } else { 0.3 },
            is_kept: is_instructive,
        }
    };
    let workers = command.workers(&[1, 4, 16, 64], &[64]);
    let batch_size = command.batch_size.unwrap_or(8);
    let mut subjects = vec![subject("lenet", batch_size, Schedule::grid(&workers))];
    if !command.quick && command.workers.is_empty() {
        let growing = Schedule::List(vec![8, 64, 64]);
        subjects.push(Subject {
            is_kept: |mode, _| mode != Mode::Bulk,
            ..subject("lenet, batches of 16", 16, vec![growing])
        });
    }
    Ok(subjects)
}

/// The seed by which the reviews are divided into folds: the same in each repeat.
const FOLD_SEED: Seed = Seed::new(1);

fn sentences(command: &Command) -> Result<Subject> {
    let all = reviews::read(&command.reviews)?;
    let some = command.quick.then_some(512);
    let setting = Config {
        batch_size: command.batch_size.unwrap_or(16),
        optimizer: Optimizer::ADAM,
        learning_rate: command.learning_rate.unwrap_or(0.001).into(),
        clip_norm: Some(1.0),
        ..Config::default()
    };
    let mut jobs = Vec::new();
    for (fold, seed) in (0..FOLDS).zip(1..=command.repeats()) {
        let of = Reviews::new(all.clone(), FOLD_SEED, HeldOut::Fold(fold), some)?;
        let learner = SentenceLearner::new(of.vocabulary.len());
        let workload: Arc<dyn Workload> = Arc::new(BurnWorkload::new(learner)?);
        let (train, test) = (Arc::new(of.train), Arc::new(of.held_out));
        jobs.push(job(&workload, train, test, seed, &setting, steps::SENTENCES));
    }
    let first = &jobs[0];
    let about = about("Sentence network", &*first.train, &*first.test, &setting);
    Ok(Subject {
        name: "sentences".into(),
        jobs,
        store: Store::Ideal,
        modes: command.modes.clone(),
        schedules: Schedule::grid(&command.workers(&WORKERS, &QUICK)),
        decay: cosine,
        passes: if command.quick { |_| 1 } else { |workers| if workers < 100 { 5 } else { 8 } },
        target: None,
        limit: 2.0 * std::f64::consts::LN_2,
        quality: Quality::Accuracy,
        shown: 1.0,
        is_kept: is_instructive,
        about: format!(
            "{about}{FALLS} Each repeat holds out another fifth of the reviews. Runs of 100 functions or \
             more have 8 passes, the others 5."
        ),
    })
}

/// The description of [`cosine`].
const FALLS: &str = " The rate falls along half a cosine to a tenth.";

/// The decay of the examples: along half a cosine, to a tenth of the rate.
fn cosine(passes: u64) -> LrDecay {
    LrDecay::Cosine { epochs: passes, last: 0.1 }
}

/// The runs of the networks, which take a minute or more each: all those with the rule, and those
/// without it where a constant number of functions is large.
fn is_instructive(mode: Mode, schedule: &Schedule) -> bool {
    match mode {
        Mode::Hybrid => true,
        Mode::HybridPlain => schedule.is_constant_from(16),
        Mode::Bulk => *schedule == Schedule::Constant(64),
    }
}

fn job(
    workload: &Arc<dyn Workload>,
    train: Arc<dyn DataSource>,
    test: Arc<dyn DataSource>,
    seed: u64,
    setting: &Config,
    step: StepTime,
) -> Job {
    let config = Config {
        run: "elastic".into(),
        seed,
        stop: StopRules::default(),
        // Each core has its own run.
        evaluate_threads: Some(1),
        ..setting.clone()
    };
    let workload = Arc::clone(workload);
    Job { name: "elastic".into(), workload, train, test, config, step, threads: 1 }
}

fn about(name: &str, train: &dyn DataSource, test: &dyn DataSource, setting: &Config) -> String {
    format!(
        "{name}: {} training and {} held-out examples, {} with learning rate {}, batches of {}.",
        train.len(),
        test.len(),
        setting.optimizer.name(),
        setting.learning_rate.base,
        setting.batch_size,
    )
}
