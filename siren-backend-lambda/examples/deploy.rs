//! Sets up the bucket, role and function that training on AWS Lambda needs, shows them, and removes them.
//!
//! ```text
//! cargo run -p siren-backend-lambda --example deploy -- up --package siren-lenet-function
//! cargo run -p siren-backend-lambda --example deploy -- status
//! cargo run -p siren-backend-lambda --example deploy -- prune
//! cargo run -p siren-backend-lambda --example deploy -- down
//! ```
//!
//! `up`, `prune` and `down` print what they will do and ask first. `--endpoint` names another server, such as an
//! emulator. `policy` prints the permissions that this program and training need.

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
use siren_examples::print_line;

/// Sets up the bucket, role and function that training on AWS Lambda needs, shows them, and removes them
#[derive(Parser)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create what is missing, and change what differs
    Up(Up),
    /// Show what exists
    Status(Target),
    /// Remove versions of earlier code; jobs that still use them fail
    Prune(Prune),
    /// Remove everything
    Down(Down),
    /// Print the IAM policy that deploying and training need
    Policy,
}

#[derive(Args)]
#[command(next_help_heading = "AWS")]
struct Target {
    /// Name of the deployment and of its function
    #[arg(long, default_value_t = DeploySettings::default().name)]
    name: String,
    /// Bucket [default: NAME-ACCOUNT-REGION]
    #[arg(long)]
    bucket: Option<String>,
    /// Region, instead of the profile's
    #[arg(long)]
    region: Option<String>,
    /// Profile in ~/.aws
    #[arg(long)]
    profile: Option<String>,
    /// URL of a server to use instead of AWS, such as an emulator
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    target: Target,
    /// The function's binary, built for Linux
    #[arg(long, value_name = "FILE", required_unless_present = "package", help_heading = FUNCTION)]
    #[arg(conflicts_with = "package")]
    binary: Option<PathBuf>,
    /// Package that serves the workload, to build with cargo-lambda
    #[arg(long, value_name = "NAME", help_heading = FUNCTION)]
    package: Option<String>,
    /// Architecture of the function: arm64 or x86_64
    #[arg(long, default_value_t, help_heading = FUNCTION)]
    arch: Architecture,
    /// Memory of a new function, in MB
    #[arg(long, value_name = "MB", default_value_t = DeploySettings::default().memory_mb)]
    #[arg(help_heading = FUNCTION)]
    memory: u32,
    /// Timeout of a new function, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DeploySettings::default().timeout.as_secs())]
    #[arg(help_heading = FUNCTION)]
    timeout: u64,
    /// Days after which objects of runs expire
    #[arg(long, default_value_t = DeploySettings::default().expire_days, help_heading = STORAGE)]
    days: u32,
    /// Days for which logs are kept
    #[arg(long, default_value_t = DeploySettings::default().log_days, help_heading = STORAGE)]
    log_days: u32,
    /// Do not ask before anything is changed
    #[arg(long)]
    yes: bool,
}

const FUNCTION: &str = "Function";
const STORAGE: &str = "Objects and logs";

#[derive(Args)]
struct Prune {
    #[command(flatten)]
    target: Target,
    /// Do not ask before anything is removed
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
struct Down {
    #[command(flatten)]
    target: Target,
    /// Keep the bucket and its objects
    #[arg(long)]
    keep_data: bool,
    /// Do not ask before anything is removed
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
            print_line!("{:#}", operator_policy());
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
        let says = format!("cannot read the binary {}", binary.display());
        Error::rejected(says).with_source(error)
    })?;
    let artefact = Artefact::package(&bytes, arch)?;
    if let Some(warning) = artefact.warning() {
        eprintln!("warning: {warning}");
    }
    let plan = deployment.plan(&artefact).await?;
    print_line!("{plan}");
    if plan.steps.is_empty() {
        return Ok(());
    }
    confirm(yes)?;
    let done = deployment.up(&artefact).await?;
    print_line!("done: function {}, bucket {}", done.names.function, done.names.bucket);
    Ok(())
}

async fn status(target: &Target) -> Result<()> {
    print_line!("{}", target.open(target.settings()).await?.status().await?);
    Ok(())
}

async fn prune(Prune { target, yes }: &Prune) -> Result<()> {
    let deployment = target.open(target.settings()).await?;
    let status = deployment.status().await?;
    print_line!("{status}");
    let function = status.function.as_ref().filter(|function| function.ours);
    if function.is_some_and(|function| function.versions.iter().all(|version| version.current)) {
        print_line!("no versions of earlier code exist");
        return Ok(());
    }
    print_line!(
        "to do: remove versions of earlier code, and their aliases; jobs that still use them fail"
    );
    confirm(*yes)?;
    let (aliases, versions) = deployment.prune().await?;
    print_line!("removed {versions} versions of earlier code and {aliases} aliases");
    Ok(())
}

async fn down(Down { target, keep_data, yes }: &Down) -> Result<()> {
    let deployment = target.open(target.settings()).await?;
    let status = deployment.status().await?;
    print_line!("{status}");
    if status.is_nothing() {
        return Ok(());
    }
    print_line!("to do: remove all of these{}", if *keep_data { " except the bucket" } else { "" });
    confirm(*yes)?;
    print_line!("{}", deployment.down(*keep_data).await?);
    Ok(())
}

/// Asks for confirmation, unless `--yes` gives it.
fn confirm(yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    let mut input = std::io::stdin().lock();
    if !std::io::stdin().is_terminal() {
        return Err(Error::rejected("not a terminal, so this cannot be confirmed: pass --yes"));
    }
    print!("continue? [y/N] ");
    let mut answer = String::new();
    std::io::stdout().flush().and_then(|()| input.read_line(&mut answer)).map_err(|error| {
        Error::new(ErrorKind::Other, "cannot read the answer").with_source(error)
    })?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Error::rejected("nothing was changed: the answer was no"))
}
