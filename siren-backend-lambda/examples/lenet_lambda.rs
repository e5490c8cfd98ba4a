//! LeNet on MNIST, as `lenet_mnist` trains it, on a swarm of functions of AWS Lambda:
//!
//! ```text
//! cargo run --release -p siren-backend-lambda --example deploy -- up --package siren-lenet-function
//! cargo run --release -p siren-backend-lambda --example lenet_lambda -- --workers 8 --budget 1
//! ```

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use siren_backend_lambda::aws::Aws;
use siren_backend_lambda::deploy::{DeploySettings, Deployment, RUNS};
use siren_backend_lambda::{LambdaBackend, LambdaSettings, S3Objects};
use siren_burn::BurnWorkload;
use siren_core::{Backend, DataSource, Error, ErrorKind, Profile, Result, Work, Workload};
use siren_data::{PackedData, pack};
use siren_examples::{Flags, Program, mnist, print_line, run, schedulers, steps};
use siren_hsp::preview::{Preview, PreviewInput};
use siren_hsp::{Checkpoint, Config, ObjectOptions, TrainerParts};
use siren_lenet::{DigitLearner, RECORD};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains LeNet (431,080 parameters) on MNIST, with workers on functions of AWS Lambda.
#[derive(Parser)]
#[command(name = "lenet_lambda")]
struct Command {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    site: Site,
}

/// The functions, and the account that they are in.
#[derive(Args)]
#[command(next_help_heading = "AWS")]
struct Site {
    /// Name of the deployment, as given to `deploy up`
    #[arg(long, value_name = "NAME", default_value_t = DeploySettings::default().name)]
    deployment: String,
    /// Function to use instead of the deployment's
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Bucket to use instead of the deployment's
    #[arg(long, value_name = "NAME")]
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
    /// Count no data transfer out of the region: this program runs in the region of the bucket
    #[arg(long)]
    in_region: bool,
    /// Poll interval of aggregators; shorter: fresher updates, more requests
    #[arg(long, value_name = "TIME", default_value_t = ObjectOptions::default().poll_interval.into())]
    poll_interval: humantime::Duration,
    /// Do not ask before money is spent
    #[arg(long)]
    yes: bool,
}

/// The label of a run's checkpoint that names the objects of its parameters.
const STORE: &str = "store";

const PROGRAM: Program = Program { name: NAME, defaults, data: mnist::bundled };

const NAME: &str = "lenet_lambda";

const RERUN_COMMAND: &str = "cargo run --release -p siren-backend-lambda --example lenet_lambda --";

#[tokio::main]
async fn main() -> ExitCode {
    let Command { flags, site } = PROGRAM.parse();
    train(flags, site).await.unwrap_or_else(|error| run::fail(&error))
}

async fn train(flags: Flags, site: Site) -> Result<ExitCode> {
    let flags = PROGRAM.complete(flags)?;
    if flags.simulated() {
        return Err(Error::rejected(
            "this program runs on AWS Lambda: simulate with lenet_mnist --simulate",
        ));
    }
    let data = flags.data.clone().unwrap_or_else(mnist::bundled);
    let (train, test) = mnist::load(&data, flags.train_size)?;
    let workload = Arc::new(BurnWorkload::new(DigitLearner)?);
    let folder = flags.folder(NAME);
    let mut config = flags.config(NAME);
    config.check(train.len())?;
    let store = match &flags.resume {
        Some(folder) => stored(folder)?,
        None => format!("{RUNS}{NAME}-{}", stamp()),
    };
    config.labels.insert(STORE.into(), store.clone());

    let images = train.len();
    let packed = packed(&folder, &train).await?;
    let key = PackedData::open(&packed).await?.key("mnist-train")?;
    let aws = Aws {
        region: site.region.clone(),
        profile: site.profile.clone(),
        endpoint: site.endpoint.clone(),
    };
    let sdk = aws.config().await?;
    let (function, bucket) = names(&sdk, &site).await?;
    let objects = S3Objects::new(&sdk, &bucket, "");
    let options = options(&config, &workload, flags.allocation().workers, *site.poll_interval);
    let lambda = LambdaBackend::connect(LambdaSettings {
        options,
        in_region: site.in_region,
        ..LambdaSettings::new(sdk, function, bucket, store, key, &*workload)
    })
    .await?;
    let flags = flags.fit_memory(lambda.platform());

    preview(&flags, &config, &lambda, workload.dim() as u64, images)?;
    if flags.preview || !confirmed(&site)? {
        return Ok(ExitCode::SUCCESS);
    }
    objects.upload_data(&packed, "mnist-train").await?;
    let store = lambda.store()?;
    store.initialise(&*workload, config.seed).await?;

    let profile = Profile { platform: lambda.platform().clone(), ..Profile::aws_lambda() };
    let belief = schedulers::Belief { profile, step: steps::LENET };
    // A scheduler expects of these functions what it expects of simulated ones.
    let functions = Flags { simulate: true, ..flags.clone() };
    let scheduler = belief.scheduler(&functions, &config, workload.dim(), &train).await?;
    let lambda = Arc::new(lambda);
    let parts = TrainerParts {
        workload: workload.clone(),
        // The images that were uploaded, read from the local file.
        train: Arc::new(PackedData::open(&packed).await?),
        held_out: Some(Arc::new(test)),
        store: Arc::new(store),
        backend: lambda.clone(),
        scheduler,
    };
    let trained = run::drive(NAME, &flags, parts, config).await?;
    let model = folder.join("model.safetensors");
    if trained.started {
        siren_burn::save(workload.layout(), &trained.values, &model)?;
    }
    let exit = run::summarise(&trained, &folder, RERUN_COMMAND)?;
    let bills = lambda.bills();
    print_line!(
        "  billed    {} invocations: {} reported by AWS, {} computed from measured times, {} unknown",
        bills.invocations,
        bills.reported,
        bills.computed,
        bills.unknown()
    );
    if trained.started {
        print_line!("  model     {}", model.display());
    }
    Ok(exit)
}

/// The values that suit functions, whatever their number. A batch is larger than in memory, because
/// most of the cost of a model as small as this one is requests.
fn defaults(_: &Flags) -> Flags {
    Flags { workers: Some(4), batch_size: Some(64), ..Flags::default() }
}

/// Returns the prefix of the parameters' objects in the run that is resumed.
fn stored(folder: &Path) -> Result<String> {
    let checkpoint = Checkpoint::load(folder)?;
    checkpoint.config().labels.get(STORE).cloned().ok_or_else(|| {
        Error::rejected(format!(
            "the run in {} did not run on AWS Lambda: resume it with the program that made it",
            folder.display()
        ))
    })
}

/// Returns the time, as a name that no other run has.
fn stamp() -> String {
    #[expect(clippy::disallowed_methods, reason = "a name, not part of any result")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:06}", since.as_secs(), since.subsec_micros())
}

/// Packs the images into a file, whose bytes are uploaded as they are.
async fn packed(folder: &Path, train: &dyn DataSource) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let says = format!("cannot make the folder {}: name another with --out", folder.display());
        Error::new(ErrorKind::Other, says).with_source(error)
    })?;
    let path = folder.join("mnist-train.siren");
    pack(train, &path).await?;
    Ok(path)
}

/// Returns the names of the function and the bucket: the deployment's, unless the flags name others.
async fn names(sdk: &aws_config::SdkConfig, site: &Site) -> Result<(String, String)> {
    if let (Some(function), Some(bucket)) = (&site.function, &site.bucket) {
        return Ok((function.clone(), bucket.clone()));
    }
    let settings = DeploySettings {
        name: site.deployment.clone(),
        bucket: site.bucket.clone(),
        ..DeploySettings::default()
    };
    let names = Deployment::open(sdk, settings).await?.names().await?;
    Ok((site.function.clone().unwrap_or(names.function), names.bucket))
}

/// Returns options with as many parts and aggregators as `workers` workers need.
fn options(
    config: &Config,
    workload: &Arc<BurnWorkload<DigitLearner>>,
    workers: u32,
    poll_interval: Duration,
) -> ObjectOptions {
    let steps = steps::LENET;
    let work = Work::Gradient { examples: config.batch_size };
    let compute = steps.seconds(work, 1.0, &Profile::aws_lambda().cpu) * config.local_steps as f64;
    // A pull and a push take a tenth of a second.
    let cycle = Duration::from_secs_f64(compute + 0.1);
    ObjectOptions {
        parts: ObjectOptions::parts_for(workload.dim(), workers, cycle),
        cycle,
        poll_interval,
        ..ObjectOptions::default()
    }
}

/// Prints time and cost of the run, with aggregators, requests and data transfer out of the region.
fn preview(
    flags: &Flags,
    config: &Config,
    lambda: &LambdaBackend,
    parameters: u64,
    images: u64,
) -> Result<()> {
    let platform = lambda.platform();
    let allocation = flags.allocation();
    allocation.check(platform)?;
    let plan = config.plan(0, 0, images, allocation.workers);
    let subject = PreviewInput::new(parameters, images, images * RECORD as u64)
        .with_workers([allocation.workers])
        .with_memory([allocation.memory_mb])
        .with_store(Arc::new(lambda.store()?))
        .with_driver(lambda.max_driver_usage(&plan, parameters));
    let profile = Profile { platform: platform.clone(), ..Profile::aws_lambda() };
    print_line!("{}", Preview::new(config, &subject, &profile, &steps::LENET)?);
    print_line!(
        "Not included: storage in the bucket ($0.023 per GB and month), logs ($0.50 per GB), data transfer of \
         other programs."
    );
    Ok(())
}

/// Asks for permission to spend the money, unless `--yes` gives it.
fn confirmed(site: &Site) -> Result<bool> {
    if site.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::rejected("not a terminal, so spending cannot be confirmed: pass --yes"));
    }
    print!("Continue? [y/N] ");
    let unreadable =
        |error| Error::new(ErrorKind::Other, "cannot ask for confirmation").with_source(error);
    std::io::stdout().flush().map_err(unreadable)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_help_prints_the_values_that_a_run_without_flags_uses() {
        let flags = PROGRAM.complete(Command::parse_from(["lenet_lambda"]).flags).unwrap();
        let (config, allocation) = (flags.config(NAME), flags.allocation());
        assert_eq!(config.optimizer, siren_core::Optimizer::ADAM);
        let help = PROGRAM.with_defaults(Command::command()).render_help().to_string();
        let shown = |flag: &str| {
            let (_, after) = help.split_once(&format!("--{flag} <")).unwrap();
            let (_, after) = after.split_once("[default: ").unwrap();
            after.split([']', ';', ',']).next().unwrap().parse::<f64>().unwrap()
        };
        for (flag, used) in [
            ("epochs", config.stop.epochs as f64),
            ("batch-size", config.batch_size as f64),
            ("learning-rate", config.learning_rate.base.into()),
            ("clip-norm", config.clip_norm.unwrap().into()),
            ("weight-decay", config.weight_decay.into()),
            ("local-steps", config.local_steps as f64),
            ("seed", config.seed as f64),
            ("workers", allocation.workers.into()),
            ("memory-mb", allocation.memory_mb.into()),
            ("threads", flags.threads() as f64),
        ] {
            assert!((shown(flag) - used).abs() < 1e-6, "--{flag} is {used}:\n{help}");
        }
        assert_eq!((shown("workers"), shown("batch-size")), (4.0, 64.0));
        for text in
            ["[default: adam]", "[default: hybrid]", "[default: fixed]", "siren/lenet_lambda]"]
        {
            assert!(help.contains(text), "{text:?} is missing:\n{help}");
        }
    }

    #[tokio::test]
    async fn a_simulation_is_refused_before_anything_is_contacted() {
        for flags in [&["--simulate"][..], &["--simulation", "any.toml"]] {
            let flags = [&["lenet_lambda"], flags].concat();
            let Command { flags, site } = Command::parse_from(flags);
            let error = train(flags, site).await.unwrap_err();
            assert!(error.message().contains("lenet_mnist --simulate"), "{error}");
        }
    }
}
