//! Sets up what training on AWS Lambda needs, shows it, and removes it.
//!
//! ```text
//! cargo run -p siren-backend-lambda --example deploy -- up --package siren-lenet-function
//! cargo run -p siren-backend-lambda --example deploy -- status
//! cargo run -p siren-backend-lambda --example deploy -- prune
//! cargo run -p siren-backend-lambda --example deploy -- down
//! ```
//!
//! `up`, `prune` and `down` say what they will do and ask first. With `--endpoint` they talk to another server,
//! such as an emulator. `policy` prints the least that the person must be allowed who uses this.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use siren_backend_lambda::aws::Aws;
use siren_backend_lambda::deploy::{
    Architecture, Artefact, DeploySettings, Deployment, build, operator_policy,
};
use siren_core::{Error, ErrorKind, Result};

/// Sets up what training on AWS Lambda needs, shows it, and removes it.
#[derive(Parser)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create what is missing and change what differs.
    Up(Up),
    /// Show what is there.
    Status(Target),
    /// Remove the versions of earlier code, when no job runs that began with it.
    Prune(Prune),
    /// Remove everything.
    Down(Down),
    /// Print the least policy of the person who deploys and trains.
    Policy,
}

#[derive(Args)]
struct Target {
    /// The deployment, and its function.
    #[arg(long, default_value = "siren")]
    name: String,
    /// The bucket; by default NAME-ACCOUNT-REGION.
    #[arg(long)]
    bucket: Option<String>,
    /// The region; by default that of the profile.
    #[arg(long)]
    region: Option<String>,
    /// The profile in ~/.aws.
    #[arg(long)]
    profile: Option<String>,
    /// Another endpoint than AWS's own.
    #[arg(long)]
    endpoint: Option<String>,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    target: Target,
    /// The function's binary, built for Linux.
    #[arg(long, required_unless_present = "package", conflicts_with = "package")]
    binary: Option<PathBuf>,
    /// The package that serves the workload: built with cargo-lambda.
    #[arg(long)]
    package: Option<String>,
    /// What the function runs on: arm64 or x86_64.
    #[arg(long, default_value_t)]
    arch: Architecture,
    /// Memory of a new function, in MB.
    #[arg(long, default_value_t = 1_769)]
    memory: u32,
    /// Timeout of a new function, in seconds.
    #[arg(long, default_value_t = 900)]
    timeout: u64,
    /// After how many days objects of runs expire.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// For how many days the log is kept.
    #[arg(long, default_value_t = 7)]
    log_days: u32,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct Prune {
    #[command(flatten)]
    target: Target,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct Down {
    #[command(flatten)]
    target: Target,
    /// Keep the bucket with what is in it.
    #[arg(long)]
    keep_data: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Flags::parse().command {
        Command::Up(flags) => up(flags).await,
        Command::Status(target) => status(&target).await,
        Command::Prune(flags) => prune(&flags).await,
        Command::Down(flags) => down(&flags).await,
        Command::Policy => {
            println!("{:#}", operator_policy());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

impl Target {
    fn settings(&self) -> DeploySettings {
        DeploySettings {
            name: self.name.clone(),
            bucket: self.bucket.clone(),
            ..DeploySettings::default()
        }
    }

    async fn open(&self, settings: DeploySettings) -> Result<Deployment> {
        settings.check()?;
        let Self { region, profile, endpoint, .. } = self;
        let aws =
            Aws { region: region.clone(), profile: profile.clone(), endpoint: endpoint.clone() };
        Deployment::open(&aws.config().await?, settings).await
    }
}

async fn up(flags: Up) -> Result<()> {
    let Up { target, binary, package, arch, memory, timeout, days, log_days, yes } = flags;
    let settings = DeploySettings {
        memory_mb: memory,
        timeout: Duration::from_secs(timeout),
        expire_days: days,
        log_days,
        ..target.settings()
    };
    let deployment = target.open(settings).await?;
    let binary = match (binary, package) {
        (Some(binary), _) => binary,
        (None, package) => build(&package.unwrap_or_default(), arch)?,
    };
    let bytes = std::fs::read(&binary).map_err(|error| {
        let says = format!("the binary {} cannot be read", binary.display());
        Error::rejected(says).with_source(error)
    })?;
    let artefact = Artefact::package(&bytes, arch)?;
    if let Some(warning) = artefact.warning() {
        eprintln!("warning: {warning}");
    }
    let plan = deployment.plan(&artefact).await?;
    println!("{plan}");
    if plan.steps.is_empty() {
        return Ok(());
    }
    confirm(yes)?;
    let done = deployment.up(&artefact).await?;
    println!("done: function {}, bucket {}", done.names.function, done.names.bucket);
    Ok(())
}

async fn status(target: &Target) -> Result<()> {
    println!("{}", target.open(target.settings()).await?.status().await?);
    Ok(())
}

async fn prune(Prune { target, yes }: &Prune) -> Result<()> {
    let deployment = target.open(target.settings()).await?;
    let status = deployment.status().await?;
    println!("{status}");
    let function = status.function.as_ref().filter(|function| function.ours);
    if function.is_some_and(|function| function.versions.iter().all(|version| version.current)) {
        println!("there is nothing to remove");
        return Ok(());
    }
    println!(
        "to do: remove versions of earlier code, and their names; a job that still runs with them fails"
    );
    confirm(*yes)?;
    let (aliases, versions) = deployment.prune().await?;
    println!("removed {versions} versions of earlier code and {aliases} of their names");
    Ok(())
}

async fn down(Down { target, keep_data, yes }: &Down) -> Result<()> {
    let deployment = target.open(target.settings()).await?;
    let status = deployment.status().await?;
    println!("{status}");
    if status.is_nothing() {
        return Ok(());
    }
    println!("to do: remove all of this{}", if *keep_data { " but the bucket" } else { "" });
    confirm(*yes)?;
    println!("{}", deployment.down(*keep_data).await?);
    Ok(())
}

/// Asks the person, unless that was answered by a flag.
fn confirm(yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let mut input = std::io::stdin().lock();
    if !std::io::stdin().is_terminal() {
        return Err(Error::rejected("nobody is there to ask: give --yes"));
    }
    print!("go on? [y/N] ");
    let mut answer = String::new();
    std::io::stdout().flush().and_then(|()| input.read_line(&mut answer)).map_err(|error| {
        Error::new(ErrorKind::Other, "the answer cannot be read").with_source(error)
    })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Error::rejected("nothing was changed: the answer was no"))
}
