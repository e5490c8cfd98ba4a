//! LeNet on MNIST by Hybrid Synchronous Parallel SGD: `cargo run --release --example lenet_mnist`
//!
//! `--help` lists the flags. The run writes its files to `target/siren/lenet_mnist`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use siren_burn::BurnWorkload;
use siren_core::{DataSource, Result, Workload};
use siren_examples::{Flags, Program, mnist, preview, print_line, run, steps};
use siren_lenet::{DigitLearner, RECORD};

/// burn allocates large tensors in every step, and this allocator keeps their memory for the next
/// ones.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains LeNet (431,080 parameters) on MNIST, with workers on this machine's cores or on simulated
/// functions.
#[derive(Parser)]
#[command(name = "lenet_mnist")]
struct Command {
    #[command(flatten)]
    flags: Flags,
}

const PROGRAM: Program =
    Program { name: "lenet_mnist", defaults: |_| Flags::default(), data: mnist::bundled };

#[tokio::main]
async fn main() -> ExitCode {
    let Command { flags } = PROGRAM.parse();
    train(flags).await.unwrap_or_else(|error| run::fail(&error))
}

async fn train(flags: Flags) -> Result<ExitCode> {
    let flags = PROGRAM.complete(flags)?;
    let data = flags.data.clone().unwrap_or_else(mnist::bundled);
    let (train, test) = mnist::load(&data, flags.train_size)?;
    let workload = Arc::new(BurnWorkload::new(DigitLearner)?);
    let name = PROGRAM.name;
    if flags.preview {
        let (parameters, images) = (workload.dim() as u64, train.len());
        let bytes = images * RECORD as u64;
        preview::print(&flags.config(name), parameters, images, bytes, &steps::LENET)?;
        return Ok(ExitCode::SUCCESS);
    }
    let subject = run::Subject {
        workload: workload.clone(),
        train: Arc::new(train),
        held_out: Arc::new(test),
        step: steps::LENET,
    };
    let trained = run::train(name, &flags, subject).await?;
    let folder = flags.folder(name);
    let model = folder.join("model.safetensors");
    if trained.started {
        siren_burn::save(workload.layout(), &trained.values, &model)?;
    }
    let exit = run::summarise(&trained, &folder, "cargo run --release --example lenet_mnist --")?;
    if trained.started {
        print_line!("  model     {}", model.display());
    }
    Ok(exit)
}
