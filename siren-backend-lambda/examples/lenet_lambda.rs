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
use siren_backend_lambda::data::{PackedData, pack};
use siren_backend_lambda::deploy::{self, Deployment, RUNS};
use siren_backend_lambda::{LambdaBackend, LambdaSettings, S3Objects};
use siren_burn::BurnWorkload;
use siren_core::{Backend, DataSource, Error, ErrorKind, Profile, Result, Work, Workload};
use siren_examples::{Flags, mnist, run, schedulers, steps};
use siren_hsp::preview::{Preview, PreviewInput};
use siren_hsp::{Checkpoint, Config, ObjectOptions, TrainerParts};
use siren_lenet::{DigitLearner, RECORD};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// LeNet on MNIST on functions of AWS Lambda.
#[derive(Parser)]
#[command(name = "lenet_lambda")]
struct Command {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    site: Site,
}

/// Where the functions are.
#[derive(Args)]
struct Site {
    /// The deployment, as `deploy up` called it
    #[arg(long, value_name = "NAME", default_value = "siren")]
    deployment: String,
    /// Another function than the deployment's
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Another bucket than the deployment's
    #[arg(long, value_name = "NAME")]
    bucket: Option<String>,
    /// The region
    #[arg(long)]
    region: Option<String>,
    /// The profile in ~/.aws
    #[arg(long)]
    profile: Option<String>,
    /// Another endpoint than AWS's own
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// This program runs in the bucket's region, so that nothing it reads leaves it
    #[arg(long)]
    in_region: bool,
    /// How often an aggregator looks for updates, such as 200ms: sooner costs more, and updates are less
    /// stale
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "200ms")]
    poll_interval: Duration,
    /// Do not ask before money is spent
    #[arg(long)]
    yes: bool,
}

/// The memory of a function, in MB, where the flags do not say: the first size with a whole vCPU.
const MEMORY_MB: u32 = 1_792;

/// The label of a run's checkpoint that says where its parameters are.
const STORE: &str = "store";

const NAME: &str = "lenet_lambda";

const RERUN_COMMAND: &str = "cargo run --release -p siren-backend-lambda --example lenet_lambda --";

#[tokio::main]
async fn main() -> ExitCode {
    let Command { flags, site } = Command::parse();
    train(flags, site).await.unwrap_or_else(|error| run::fail(&error))
}

async fn train(flags: Flags, site: Site) -> Result<ExitCode> {
    let flags = defaults(flags.complete()?);
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
    let options = options(&config, &workload, flags.allocation().workers, site.poll_interval);
    let lambda = LambdaBackend::connect(LambdaSettings {
        options,
        in_region: site.in_region,
        ..LambdaSettings::new(sdk, function, bucket, store, key, &*workload)
    })
    .await?;

    preview(&flags, &config, &lambda, workload.dim() as u64, images)?;
    if flags.preview || !confirmed(&site)? {
        return Ok(ExitCode::SUCCESS);
    }
    PackedData::upload(&packed, &objects, "mnist-train").await?;
    let store = lambda.store()?;
    store.initialise(&*workload, config.seed).await?;

    let profile = Profile { platform: lambda.platform().clone(), ..Profile::aws_lambda() };
    let belief = schedulers::Belief { profile, step: steps::LENET };
    // What is believed of simulated functions is what is believed of these.
    let functions = Flags { simulate: true, ..flags.clone() };
    let scheduler = belief.scheduler(&functions, &config, workload.dim(), &train).await?;
    let lambda = Arc::new(lambda);
    let parts = TrainerParts {
        workload: workload.clone(),
        // The same images as those that were uploaded, without asking the bucket for them.
        train: Arc::new(PackedData::open(&packed).await?),
        held_out: Some(Arc::new(test)),
        store: Arc::new(store),
        backend: lambda.clone(),
        scheduler,
    };
    let trained = run::drive(NAME, &flags, parts, config).await?;
    let exit = run::summarise(&trained, &folder, RERUN_COMMAND)?;
    let bills = lambda.bills();
    println!(
        "  billed    {} invocations: {} as AWS reported, {} computed from what they measured, {} unknown",
        bills.invocations,
        bills.reported,
        bills.computed,
        bills.unknown()
    );
    if trained.started {
        let model = folder.join("model.safetensors");
        siren_burn::save(workload.layout(), &trained.values, &model)?;
        println!("  model     {}", model.display());
    }
    Ok(exit)
}

/// What suits functions, where the flags do not say: four of them, and a push for every two batches. More
/// batches for each push cost less and learn less: for a model as small as this one, requests are most of
/// what is paid. Updates wait for an aggregator, and are more stale than in memory; staleness is momentum of
/// its own (Mitliagkas et al., "Asynchrony begets momentum", 2016).
fn defaults(flags: Flags) -> Flags {
    let workers = flags.workers.unwrap_or(4);
    let momentum = (1.0 - 0.15 * workers as f32).max(0.0);
    Flags {
        workers: Some(workers),
        momentum: flags.momentum.or(Some(momentum)),
        memory_mb: flags.memory_mb.map(round_up_memory).or(Some(MEMORY_MB)),
        local_steps: flags.local_steps.or(Some(2)),
        ..flags
    }
}

/// Functions have multiples of 64 MB.
fn round_up_memory(memory_mb: u32) -> u32 {
    memory_mb.next_multiple_of(64)
}

/// Where the run that is resumed keeps its parameters.
fn stored(folder: &Path) -> Result<String> {
    let checkpoint = Checkpoint::load(folder)?;
    checkpoint.config().labels.get(STORE).cloned().ok_or_else(|| {
        Error::rejected(format!(
            "the run in {} was no run on AWS Lambda: resume it by the program that made it",
            folder.display()
        ))
    })
}

/// A time that no other run has begun at.
fn stamp() -> String {
    #[expect(clippy::disallowed_methods, reason = "a name, and no part of any result")]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:06}", since.as_secs(), since.subsec_micros())
}

/// The file with the packed images: the same bytes as they will have on S3.
async fn packed(folder: &Path, train: &dyn DataSource) -> Result<std::path::PathBuf> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let says = format!("cannot make the folder {}: name another by --out", folder.display());
        Error::new(ErrorKind::Other, says).with_source(error)
    })?;
    let path = folder.join("mnist-train.siren");
    pack(train, &path).await?;
    Ok(path)
}

/// The function and the bucket: the deployment's, unless the flags name others.
async fn names(sdk: &aws_config::SdkConfig, site: &Site) -> Result<(String, String)> {
    if let (Some(function), Some(bucket)) = (&site.function, &site.bucket) {
        return Ok((function.clone(), bucket.clone()));
    }
    let settings = deploy::DeploySettings {
        name: site.deployment.clone(),
        bucket: site.bucket.clone(),
        ..deploy::DeploySettings::default()
    };
    let names = Deployment::open(sdk, settings).await?.names().await?;
    Ok((site.function.clone().unwrap_or(names.function), names.bucket))
}

/// As many parts and aggregators as so many workers need.
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

/// Prints what the run will take and cost, aggregators, requests and what leaves the region included.
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
    println!("{}", Preview::new(config, &subject, &profile, &steps::LENET)?);
    println!(
        "Not in it: storage in the bucket ($0.023 per GB and month), logs ($0.50 per GB), data transfer of \
         other programs."
    );
    Ok(())
}

/// Whether the user wants to spend the money.
fn confirmed(site: &Site) -> Result<bool> {
    if site.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::rejected(
            "nobody is there to be asked whether to spend the money: give --yes",
        ));
    }
    print!("Go on? [y/N] ");
    let unreadable = |error| Error::new(ErrorKind::Other, "cannot ask").with_source(error);
    std::io::stdout().flush().map_err(unreadable)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
