//! Packs MNIST for functions, and uploads it:
//!
//! ```text
//! cargo run --release -p siren-backend-lambda --example pack -- --bucket my-bucket
//! ```

use std::path::{Path, PathBuf};

use clap::Parser;
use siren_backend_lambda::S3Objects;
use siren_backend_lambda::aws::Aws;
use siren_core::{DataSource as _, Result};
use siren_data::pack;
use siren_examples::mnist;

/// Packs the training and the test images of MNIST into one file each. With a bucket, uploads both, and
/// prints under which keys.
#[derive(Parser)]
struct Args {
    /// The folder with the four MNIST files
    #[arg(long)]
    data: Option<PathBuf>,
    /// Use only so many training images
    #[arg(long, value_name = "IMAGES")]
    train_size: Option<u64>,
    /// The folder for the packed files
    #[arg(long, default_value = "packed")]
    out: PathBuf,
    /// Upload to this bucket
    #[arg(long)]
    bucket: Option<String>,
    /// What keys in the bucket begin with
    #[arg(long, default_value = "", requires = "bucket")]
    prefix: String,
    /// The bucket's region
    #[arg(long)]
    region: Option<String>,
    /// The profile in ~/.aws
    #[arg(long)]
    profile: Option<String>,
    /// Another endpoint than AWS's own
    #[arg(long)]
    endpoint: Option<String>,
}

#[tokio::main]
async fn main() {
    if let Err(error) = run(Args::parse()).await {
        eprintln!("error: {}", error.chain());
        std::process::exit(1);
    }
}

async fn run(args: Args) -> Result<()> {
    let folder = args.data.unwrap_or_else(mnist::bundled);
    let (train, test) = mnist::load(&folder, args.train_size)?;
    let objects = match &args.bucket {
        None => None,
        Some(bucket) => {
            let aws = Aws { region: args.region, profile: args.profile, endpoint: args.endpoint };
            Some(S3Objects::new(&aws.config().await?, bucket, &args.prefix))
        }
    };
    make(&args.out)?;
    for (name, source) in [("mnist-train", train), ("mnist-test", test)] {
        let path = args.out.join(format!("{name}.siren"));
        let packed = pack(&source, &path).await?;
        println!("{}: {} images", path.display(), packed.len());
        if let Some(objects) = &objects {
            let key = objects.upload_data(&path, name).await?;
            println!("uploaded as {key}");
        }
    }
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let says =
            format!("cannot make the folder {}: name another one by --out", folder.display());
        siren_core::Error::new(siren_core::ErrorKind::Other, says).with_source(error)
    })
}
