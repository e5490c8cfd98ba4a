//! The MNIST images, from the four original files.

use std::path::{Path, PathBuf};

use siren_core::{Error, ErrorKind, Result, Seed};
use siren_data::{MemorySource, idx};
use siren_lenet::{CLASSES, RECORD};

/// Training and test data; an example is a label byte and 784 pixels. The training images are
/// shuffled once, always in the same way, and cut to the first `train_size` if that is given.
///
/// # Errors
///
/// When a file is missing, damaged or another than it should be; the message names it.
pub fn load(folder: &Path, train_size: Option<u64>) -> Result<(MemorySource, MemorySource)> {
    let read = |part: &str| -> Result<MemorySource> {
        let file = |kind: &str| find(folder, &format!("{part}-{kind}-ubyte"));
        let (images, labels) = (file("images-idx3")?, file("labels-idx1")?);
        let source = idx::read_labelled(&images, &labels)?;
        check(&source, &images, &labels)?;
        Ok(source)
    };
    let train = read("train")?.shuffled(Seed::new(0));
    let test = read("t10k")?;
    let train = match train_size {
        Some(0) => {
            return Err(Error::rejected("the training size is 0: give at least 1 image"));
        }
        Some(size) => train.take(size),
        None => train,
    };
    Ok((train, test))
}

/// Refuses images of another size and labels that are not digits.
fn check(source: &MemorySource, images: &Path, labels: &Path) -> Result<()> {
    let corrupt = |message: String| Err(Error::new(ErrorKind::Corrupt, message));
    if source.record_len() != RECORD {
        return corrupt(format!(
            "the images in {} have {} pixels, those of MNIST 784: is it the right file?",
            images.display(),
            source.record_len() - 1
        ));
    }
    match source.records().position(|record| record[0] >= CLASSES) {
        None => Ok(()),
        Some(index) => corrupt(format!(
            "label {index} in {} is not a digit from 0 to 9: is it the right file?",
            labels.display()
        )),
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
                "{} is missing: name the folder with the four MNIST files with --data; this \
                 repository has them in data/mnist",
                compressed.display()
            ),
        ))
    }
}

/// The folder with the bundled files: below the working directory, or in the source tree.
pub fn bundled() -> PathBuf {
    let here = PathBuf::from("data/mnist");
    if here.is_dir() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/mnist") }
}
