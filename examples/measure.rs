//! The speed of this machine at the workload of an example:
//! `cargo run --release --example measure -- lenet|census|higgs`
//!
//! Prints the step time as a TOML file that simulations read, and writes it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use siren_backend_sim::{Measuring, measure, step_toml};
use siren_burn::BurnWorkload;
use siren_core::{DataSource, Error, ErrorKind, Result, Workload, file};
use siren_examples::tables::{self, Clicks};
use siren_examples::{mnist, print_line, run};
use siren_lenet::DigitLearner;
use siren_linear::{LogisticRegression, SparseLogisticRegression};

/// The allocator of the training programs: burn allocates large tensors in every step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures how long gradients take on this machine, as a worker computes them.
#[derive(Parser)]
#[command(name = "measure")]
struct Command {
    /// Workload to measure
    workload: Measured,
    /// Examples in the largest mini-batch; two smaller sizes are measured too
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch_size: u64,
    /// Threads that compute at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Repetitions of each measurement, of which the median counts
    #[arg(long, value_name = "N", default_value_t = 15)]
    repeats: u32,
    /// TOML file to write [default: target/siren/steps/WORKLOAD.toml]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Measured {
    /// LeNet on MNIST
    Lenet,
    /// Logistic regression of sparse features, on census-kdd
    Census,
    /// Logistic regression of dense features, on higgs
    Higgs,
}

impl Measured {
    /// The workload and its training data.
    fn load(self) -> Result<(Arc<dyn Workload>, Arc<dyn DataSource>)> {
        match self {
            Self::Lenet => {
                let (train, _) = mnist::load(&mnist::bundled(), None)?;
                Ok((Arc::new(BurnWorkload::new(DigitLearner)?), Arc::new(train)))
            }
            Self::Census => {
                let folder = tables::bundled_clicks();
                let (train, _) = tables::load_clicks(&folder, Clicks::CensusKdd, None)?;
                let workload = SparseLogisticRegression::new(train.features)?;
                Ok((Arc::new(workload), Arc::new(train.source)))
            }
            Self::Higgs => {
                let higgs = tables::load_higgs(&tables::bundled_higgs(), None)?;
                Ok((Arc::new(LogisticRegression::new(higgs.features)?), Arc::new(higgs.train)))
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match step(&Command::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => run::fail(&error),
    }
}

async fn step(command: &Command) -> Result<()> {
    let (workload, train) = command.workload.load()?;
    let how = Measuring {
        batch_size: command.batch_size,
        threads: command.threads,
        workers: command.threads,
        repeats: command.repeats,
        block: Duration::from_millis(40),
        ..Measuring::default()
    };
    let step = measure(workload, &*train, &how).await?;
    let batch = step.seconds_per_batch + how.batch_size as f64 * step.seconds_per_example;
    let text = format!(
        "# {}, batches of {}, {} at once: {:.4} ms a batch, {:.0} examples a second\n{}",
        format!("{:?}", command.workload).to_lowercase(),
        how.batch_size,
        how.threads,
        batch * 1e3,
        how.batch_size as f64 / batch,
        step_toml(&step)?
    );
    print_line!("{}", text.trim_end());
    let name = format!("{:?}.toml", command.workload).to_lowercase();
    let path =
        command.out.clone().unwrap_or_else(|| PathBuf::from("target/siren/steps").join(name));
    let cannot = |error: std::io::Error| {
        let message = format!("cannot write {}: name another file with --out", path.display());
        Error::new(ErrorKind::Other, message).with_source(error)
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    file::replace(&path, |to| to.write_all(text.as_bytes()))?;
    print_line!("written to {}", path.display());
    Ok(())
}
