//! Packs MNIST for functions, and uploads it to a bucket:
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
use siren_examples::{mnist, print_line};

/// Packs the training and the test images of MNIST into one file each. With --bucket, uploads both and prints
/// their keys
#[derive(Parser)]
struct Args {
    /// Folder with the four MNIST files
    #[arg(long, value_name = "DIR", default_value_os_t = mnist::bundled(), help_heading = DATA)]
    data: PathBuf,
    /// Pack only the first N training images
    #[arg(long, value_name = "N", help_heading = DATA)]
    train_size: Option<u64>,
    /// Folder for the packed files
    #[arg(long, value_name = "DIR", default_value = "packed", help_heading = DATA)]
    out: PathBuf,
    /// Bucket to upload to
    #[arg(long, help_heading = AWS)]
    bucket: Option<String>,
    /// Prefix of the keys in the bucket
    #[arg(long, default_value = "", requires = "bucket", help_heading = AWS)]
    prefix: String,
    /// Region, instead of the profile's
    #[arg(long, help_heading = AWS)]
    region: Option<String>,
    /// Profile in ~/.aws
    #[arg(long, help_heading = AWS)]
    profile: Option<String>,
    /// URL of a server to use instead of AWS, such as an emulator
    #[arg(long, value_name = "URL", help_heading = AWS)]
    endpoint: Option<String>,
}

const DATA: &str = "Data and output";
const AWS: &str = "AWS";

#[tokio::main]
async fn main() {
    if let Err(error) = run(Args::parse()).await {
        eprintln!("error: {}", error.chain());
        std::process::exit(1);
    }
}

async fn run(args: Args) -> Result<()> {
    let (train, test) = mnist::load(&args.data, args.train_size)?;
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
        print_line!("{}: {} images", path.display(), packed.len());
        if let Some(objects) = &objects {
            let key = objects.upload_data(&path, name).await?;
            print_line!("uploaded as {key}");
        }
    }
    Ok(())
}

fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let says = format!("cannot make the folder {}: name another with --out", folder.display());
        siren_core::Error::new(siren_core::ErrorKind::Other, says).with_source(error)
    })
}
