//! Kim's convolutional network for sentences on movie reviews, by Hybrid Synchronous Parallel SGD:
//! `cargo run --release --example sentence_cnn`
//!
//! `--help` lists the flags. The run writes its files to `target/siren/sentence_cnn`. The
//! bundled reviews are 4,000 of the 10,662 that Pang and Lee published in 2005 as the sentence
//! polarity data set, version 1.0; `--data` reads them all, one `label<TAB>sentence` on a line.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use siren_burn::BurnWorkload;
use siren_core::{DataSource, Result, Seed, StopReason, Workload};
use siren_examples::flags::OptimizerName;
use siren_examples::sentences::reviews::{self, FOLDS, HeldOut, Review, Reviews};
use siren_examples::sentences::{RECORD, SentenceLearner};
use siren_examples::{Flags, Program, preview, print_line, run, steps};
use siren_hsp::TrainingResult;

/// burn allocates large tensors in every step, and this allocator keeps their memory for the next
/// ones.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a convolutional network to tell positive sentences from negative ones, with workers on
/// this machine's cores.
#[derive(Parser)]
#[command(name = "sentence_cnn")]
struct Command {
    #[command(flatten)]
    flags: Flags,
    /// Hold out the K-th of five parts, 0 to 4, instead of a tenth of the reviews
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(..i64::from(FOLDS)))]
    #[arg(help_heading = "Cross-validation")]
    fold: Option<u32>,
    /// Train five times, hold out another part each time, and print the mean accuracy
    #[arg(long, conflicts_with_all = ["fold", "resume"], help_heading = "Cross-validation")]
    folds: bool,
}

/// The values that train this network well with any number of workers.
fn defaults(flags: &Flags) -> Flags {
    Flags {
        epochs: Some(5),
        batch_size: Some(16),
        learning_rate: match flags.optimizer {
            Some(OptimizerName::Adagrad) => Some(0.03),
            _ => None,
        },
        weight_decay: Some(0.0001),
        ..Flags::default()
    }
}

const PROGRAM: Program = Program { name: "sentence_cnn", defaults, data: reviews::bundled };

#[tokio::main]
async fn main() -> ExitCode {
    let command: Command = PROGRAM.parse();
    train(command).await.unwrap_or_else(|error| run::fail(&error))
}

async fn train(command: Command) -> Result<ExitCode> {
    let flags = PROGRAM.complete(command.flags)?;
    let reviews = reviews::read(flags.data.clone().unwrap_or_else(reviews::bundled))?;
    if command.folds {
        return cross_validate(reviews, &flags).await;
    }
    if flags.preview {
        let config = flags.config(PROGRAM.name);
        let seed = Seed::new(config.seed);
        let reviews = Reviews::new(reviews, seed, HeldOut::Tenth, flags.train_size)?;
        let learner = SentenceLearner::new(reviews.vocabulary.len());
        let parameters = BurnWorkload::new(learner)?.dim() as u64;
        let sentences = reviews.train.len();
        let bytes = sentences * RECORD as u64;
        preview::print(&config, parameters, sentences, bytes, &steps::SENTENCES)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (name, held_out, again) = match command.fold {
        None => (PROGRAM.name.into(), HeldOut::Tenth, String::new()),
        Some(fold) => (run_of(fold), HeldOut::Fold(fold), format!(" --fold {fold}")),
    };
    let trained = one(&name, reviews, held_out, &flags).await?;
    let again = format!("cargo run --release --example sentence_cnn --{again}");
    let exit = run::summarise(&trained, &flags.folder(&name), &again)?;
    if trained.started {
        print_line!("  model     {}", flags.folder(&name).join("model.safetensors").display());
    }
    Ok(exit)
}

fn run_of(fold: u32) -> String {
    format!("{}-fold-{fold}", PROGRAM.name)
}

/// Trains on all reviews that are not held out, and saves the model and its vocabulary.
async fn one(
    name: &str,
    reviews: Vec<Review>,
    held_out: HeldOut,
    flags: &Flags,
) -> Result<TrainingResult> {
    let seed = Seed::new(flags.config(name).seed);
    let reviews = Reviews::new(reviews, seed, held_out, flags.train_size)?;
    let learner = SentenceLearner::new(reviews.vocabulary.len());
    let workload = Arc::new(BurnWorkload::new(learner)?);
    let subject = run::Subject {
        workload: workload.clone(),
        train: Arc::new(reviews.train),
        held_out: Arc::new(reviews.held_out),
        step: steps::SENTENCES,
    };
    let trained = run::train(name, flags, subject).await?;
    if trained.started {
        let folder = flags.folder(name);
        workload.save(&trained.values, folder.join("model.safetensors"))?;
        reviews.vocabulary.save(&folder.join("vocabulary.txt"))?;
    }
    Ok(trained)
}

/// Trains once for each fold, and prints the accuracy of each run on its held-out reviews.
async fn cross_validate(reviews: Vec<Review>, flags: &Flags) -> Result<ExitCode> {
    let mut accuracies = Vec::new();
    for fold in 0..FOLDS {
        let name = run_of(fold);
        let out = flags.out.as_ref().map(|folder| folder.join(&name));
        let flags = Flags { out, ..flags.clone() };
        let outcome = one(&name, reviews.clone(), HeldOut::Fold(fold), &flags).await?.outcome;
        let accuracy = outcome.evaluation.accuracy().unwrap_or(f64::NAN);
        print_line!(
            "fold {fold}    {:.2} % in {:.1} s ({})",
            accuracy * 100.0,
            outcome.elapsed.as_secs_f64(),
            outcome.reason
        );
        match outcome.reason {
            StopReason::Interrupted => return Ok(ExitCode::from(130)),
            StopReason::Diverged => return Ok(ExitCode::FAILURE),
            _ => accuracies.push(accuracy),
        }
    }
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    print_line!("mean      {:.2} %", mean * 100.0);
    Ok(ExitCode::SUCCESS)
}
