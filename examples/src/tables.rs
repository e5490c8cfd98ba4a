//! Tables for linear models, from the bundled files: clicks and incomes of sparse features,
//! collisions of dense ones.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use siren_core::{Error, ErrorKind, Result, Seed};
use siren_data::{MemorySource, SparseTable, Standardisation, csv, libsvm};

/// Data of sparse features with two classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clicks {
    /// Is an income above $50,000? 552 features, a strong signal
    #[default]
    CensusKdd,
    /// Does a shown item get a click? 419 features; clicks are rare and noisy
    ObdClick,
}

impl fmt::Display for Clicks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CensusKdd => "census-kdd",
            Self::ObdClick => "obd-click",
        })
    }
}

/// Training and test data of sparse features. The training examples are shuffled once, always in
/// the same way, and cut to the first `train_size` if that is given; the number of features, and of
/// positives, is that of the whole file.
///
/// # Errors
///
/// When a file is missing, damaged or another than it should be; the message names it.
pub fn load_clicks(
    folder: &Path,
    clicks: Clicks,
    train_size: Option<u64>,
) -> Result<(SparseTable, SparseTable)> {
    check_size(train_size)?;
    let mut train = libsvm::read(find(folder, &format!("{clicks}.train.libsvm"))?, None)?;
    let test = libsvm::read(find(folder, &format!("{clicks}.test.libsvm"))?, Some(train.features))?;
    train.source = train.source.shuffled(Seed::new(0));
    if let Some(size) = train_size {
        train.source = train.source.take(size);
    }
    Ok((train, test))
}

/// Collisions to train and to test on: dense features, standardised by the training data.
#[derive(Clone, Debug)]
pub struct Higgs {
    /// The training examples, shuffled once, always in the same way.
    pub train: MemorySource,
    /// The test examples.
    pub test: MemorySource,
    /// The number of features, 28.
    pub features: usize,
}

/// Reads the collisions; only the first `train_size` of the shuffled training examples if that is
/// given.
///
/// # Errors
///
/// As [`load_clicks`].
pub fn load_higgs(folder: &Path, train_size: Option<u64>) -> Result<Higgs> {
    check_size(train_size)?;
    let mut train = csv::read(find(folder, "higgs.train.csv")?)?;
    let mut test = csv::read(find(folder, "higgs.test.csv")?)?;
    let scale = Standardisation::of(&train);
    scale.apply(&mut train)?;
    scale.apply(&mut test)?;
    let source = train.pack()?.shuffled(Seed::new(0));
    let source = train_size.map_or_else(|| source.clone(), |size| source.take(size));
    Ok(Higgs { train: source, test: test.pack()?, features: train.features() })
}

fn check_size(train_size: Option<u64>) -> Result<()> {
    match train_size {
        Some(0) => Err(Error::rejected("the training size is 0: give at least 1 example")),
        _ => Ok(()),
    }
}

/// The file with this name, compressed or not.
fn find(folder: &Path, name: &str) -> Result<PathBuf> {
    let compressed = folder.join(format!("{name}.gz"));
    let plain = folder.join(name);
    if compressed.exists() {
        Ok(compressed)
    } else if plain.exists() {
        Ok(plain)
    } else {
        Err(Error::new(
            ErrorKind::Other,
            format!(
                "{} is missing: name the folder with the files with --data; this repository has them \
                 in data/click-through and data/tabular",
                compressed.display()
            ),
        ))
    }
}

/// The folder with the bundled [`Clicks`]: below the working directory, or in the source tree.
pub fn bundled_clicks() -> PathBuf {
    bundled("data/click-through")
}

/// The folder with the bundled collisions.
pub fn bundled_higgs() -> PathBuf {
    bundled("data/tabular")
}

fn bundled(folder: &str) -> PathBuf {
    let here = PathBuf::from(folder);
    if here.is_dir() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder) }
}
