//! The workloads of the testbed.

use std::path::PathBuf;
use std::sync::Arc;

use siren_burn::BurnWorkload;
use siren_core::{Allocation, Noise, Optimizer, Result, Seed, Workload};
use siren_drl::Bounds;
use siren_examples::sentences::SentenceLearner;
use siren_examples::sentences::reviews::{self, HeldOut, Reviews};
use siren_examples::tables::{self, Clicks};
use siren_examples::{mnist, steps};
use siren_hsp::{Config, LearningRate, LrDecay, StopRules};
use siren_lenet::DigitLearner;
use siren_linear::SparseLogisticRegression;

use crate::lab::Job;

/// The amount of data, and the seed.
#[derive(Clone, Debug)]
pub struct Size {
    /// `true` for small parts of the data.
    pub quick: bool,
    /// The seed of all randomness.
    pub seed: u64,
    /// The file with movie reviews.
    pub reviews: PathBuf,
}

/// One workload of the testbed.
pub struct Contest {
    /// The whole job.
    pub job: Job,
    /// The job on a part of the data, which the search over numbers of functions uses.
    pub part: Job,
    /// The share of the data in that part.
    pub share: f64,
    /// The settings of the training for a number of workers in hybrid mode.
    pub config: fn(u32) -> Config,
    /// The bytes of a fetched example.
    pub example_bytes: f64,
    /// The time of an example in MXNet divided by the time here, if it was measured.
    pub mxnet: Option<f64>,
    /// The loss before any training.
    pub initial: f64,
    /// A guess of the passes of one function, from experience with similar jobs.
    pub passes: f64,
    /// The number of workers whose settings all allocations of a scheduler use.
    pub middle: u32,
    /// The allocations of the first epochs, if a scheduler has to measure the job.
    pub probes: Vec<Allocation>,
    /// The most functions that it may choose. More do not learn with the settings of `middle`.
    pub most: u32,
}

/// Memory sizes that schedulers choose from, up to one vCPU.
const MEMORY_MB: [u32; 3] = [233, 1_769, 256];

impl Contest {
    /// The job with the settings for this number of workers.
    pub fn with(&self, job: &Job, workers: u32) -> Job {
        let mut job = job.clone();
        let stop = job.config.stop;
        // Each number of workers has its own setting, without the noise rule.
        let noise = Some(Noise::Off);
        job.config = Config { seed: job.config.seed, stop, noise, ..(self.config)(workers) };
        job
    }

    /// The bounds of a scheduler's allocations.
    pub fn bounds(&self) -> Bounds {
        let [memory_min_mb, memory_max_mb, memory_step_mb] = MEMORY_MB;
        Bounds { workers: self.most, memory_min_mb, memory_max_mb, memory_step_mb }
    }
}

fn probes(workers: &[u32], memory_mb: u32) -> Vec<Allocation> {
    workers.iter().map(|&workers| Allocation::new(workers, memory_mb)).collect()
}

/// The three workloads.
///
/// # Errors
///
/// Returns an error if the data cannot be read.
pub fn contests(size: &Size) -> Result<Vec<Contest>> {
    Ok(vec![lenet(size)?, sentences(size)?, linear(size)?])
}

fn stop(epochs: u64, target: f64) -> StopRules {
    StopRules { epochs, target_loss: Some(target), ..StopRules::default() }
}

/// LeNet: plain SGD for few workers, Adam in small batches for many. A push covers several batches,
/// so that requests cost less than computing.
fn lenet_config(workers: u32) -> Config {
    let few = workers <= 8;
    Config {
        batch_size: if few { 64 } else { 16 },
        local_steps: if few { 4 } else { 8 },
        optimizer: if few { Optimizer::Sgd } else { Optimizer::ADAM },
        learning_rate: if few { 0.05.into() } else { 0.000_3.into() },
        clip_norm: Some(1.0),
        ..Config::default()
    }
}

/// The time of an image of LeNet in MXNet 1.9.1 divided by the time here.
/// `experiments/peers/lenet.sh` measured 2,796 and 1,616 images a second in alternation, on both
/// cores of one machine.
const LENET_IN_MXNET: f64 = 2_796.0 / 1_616.0;

fn lenet(size: &Size) -> Result<Contest> {
    let some = size.quick.then_some(4_000);
    let (train, test) = mnist::load(&mnist::bundled(), some)?;
    let small = train.clone().take(train_part(size.quick));
    let test = Arc::new(if size.quick { test.take(1_000) } else { test });
    let workload: Arc<dyn Workload> = Arc::new(BurnWorkload::new(DigitLearner)?);
    let share = train_part(size.quick) as f64 / train_len(size.quick);
    let (target, looser) = if size.quick { (0.5, 0.7) } else { (0.05, 0.12) };
    let patience = if size.quick { 3 } else { 8 };
    let job = |train, stop| Job {
        name: "LeNet on MNIST".into(),
        workload: Arc::clone(&workload),
        train: Arc::new(train),
        test: test.clone(),
        config: Config { seed: size.seed, stop, ..Config::default() },
        step: steps::LENET,
        threads: threads(),
    };
    Ok(Contest {
        example_bytes: siren_lenet::RECORD as f64,
        job: job(train, stop(patience, target)),
        part: job(small, stop(patience, looser)),
        share,
        config: lenet_config,
        mxnet: Some(LENET_IN_MXNET),
        initial: std::f64::consts::LN_10,
        passes: 2.0,
        middle: 8,
        probes: probes(&[4], 1_769),
        most: 8,
    })
}

fn train_part(quick: bool) -> u64 {
    if quick { 2_000 } else { 12_000 }
}

fn train_len(quick: bool) -> f64 {
    if quick { 4_000.0 } else { 60_000.0 }
}

fn sentences_config(workers: u32) -> Config {
    let few = workers <= 4;
    Config {
        batch_size: if few { 50 } else { 8 },
        local_steps: if few { 2 } else { 4 },
        optimizer: Optimizer::ADAM,
        learning_rate: LearningRate {
            decay: LrDecay::Cosine { epochs: 8, last: 0.1 },
            ..if few { 0.003 } else { 0.000_5 }.into()
        },
        clip_norm: Some(1.0),
        weight_decay: 1e-4,
        ..Config::default()
    }
}

fn sentences(size: &Size) -> Result<Contest> {
    let read = reviews::read(size.reviews.clone())?;
    let some = size.quick.then_some(1_000);
    let reviews = Reviews::new(read, Seed::new(size.seed), HeldOut::Tenth, some)?;
    let learner = SentenceLearner::new(reviews.vocabulary.len());
    let workload: Arc<dyn Workload> = Arc::new(BurnWorkload::new(learner)?);
    let target = if size.quick { 0.69 } else { 0.60 };
    let job = Job {
        name: "Sentence network on movie reviews".into(),
        workload,
        train: Arc::new(reviews.train),
        test: Arc::new(reviews.held_out),
        config: Config { seed: size.seed, stop: stop(8, target), ..Config::default() },
        step: steps::SENTENCES,
        threads: threads(),
    };
    Ok(Contest {
        part: job.clone(),
        share: 1.0,
        config: sentences_config,
        example_bytes: siren_examples::sentences::RECORD as f64,
        mxnet: None,
        initial: std::f64::consts::LN_2,
        passes: 2.0,
        middle: 4,
        probes: probes(&[2, 4], 1_769),
        most: 8,
        job,
    })
}

fn linear_config(workers: u32) -> Config {
    Config {
        batch_size: 32,
        local_steps: 8,
        learning_rate: (0.6 / workers.max(6) as f32).min(0.12).into(),
        ..Config::default()
    }
}

fn linear(size: &Size) -> Result<Contest> {
    let some = size.quick.then_some(12_000);
    let (train, test) = tables::load_clicks(&tables::bundled_clicks(), Clicks::CensusKdd, some)?;
    let target = if size.quick { 0.15 } else { 0.124 };
    let job = Job {
        name: "Linear classification on census data".into(),
        workload: Arc::new(SparseLogisticRegression::new(train.features)?),
        train: Arc::new(train.source),
        test: Arc::new(test.source),
        config: Config { seed: size.seed, stop: stop(15, target), ..Config::default() },
        step: steps::CENSUS,
        threads: threads(),
    };
    Ok(Contest {
        part: job.clone(),
        share: 1.0,
        config: linear_config,
        example_bytes: 25.0 * 8.0,
        mxnet: None,
        initial: std::f64::consts::LN_2,
        passes: 5.0,
        middle: 8,
        probes: probes(&[4, 12], 233),
        most: 12,
        job,
    })
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
