//! The IDX format of MNIST (LeCun, Cortes, Burges): a big-endian header with a magic number and the
//! dimensions, then the entries; plain or compressed by gzip.

use std::io::Read;
use std::path::Path;

use siren_core::{Error, ErrorKind, Result};

use crate::{MemorySource, open};

/// An array of unsigned bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The entries in row-major order. Their number is the product of the shape.
    pub bytes: Vec<u8>,
}

/// A header that states more entries than this counts as broken.
const MAX_ENTRIES: u64 = 1 << 33;

/// Reads an IDX file of unsigned bytes with `dimensions` dimensions, gzipped or not.
///
/// # Errors
///
/// Returns [`ErrorKind::Other`] if the file cannot be opened, and [`ErrorKind::Corrupt`] if its
/// magic number is wrong, if the file is shorter or longer than its header says, or if the
/// compressed data is damaged. The message names the file.
pub fn read(path: impl AsRef<Path>, dimensions: u8) -> Result<Idx> {
    let path = path.as_ref();
    parse(open(path)?, dimensions, path)
}

/// Reads images and labels, and packs each example as its label byte followed by its pixels.
///
/// # Errors
///
/// As [`read`]. Also returns [`ErrorKind::Corrupt`] if the numbers of labels and images differ;
/// that message names both files.
pub fn read_labelled(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<MemorySource> {
    let (image_path, label_path) = (images.as_ref(), labels.as_ref());
    let images = read(image_path, 3)?;
    let labels = read(label_path, 1)?;
    let (count, pixels) = (images.shape[0], images.shape[1] * images.shape[2]);
    if count != labels.shape[0] {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} has {count} images but {} has {} labels: take both from the same data set",
                image_path.display(),
                label_path.display(),
                labels.shape[0]
            ),
        ));
    }
    if count == 0 || pixels == 0 {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("{} holds no images", image_path.display()),
        ));
    }
    let mut bytes = Vec::with_capacity(count * (1 + pixels));
    for (label, image) in labels.bytes.iter().zip(images.bytes.chunks_exact(pixels)) {
        bytes.push(*label);
        bytes.extend_from_slice(image);
    }
    MemorySource::new(bytes, 1 + pixels)
}

fn parse(mut from: impl Read, dimensions: u8, path: &Path) -> Result<Idx> {
    let mut magic = [0; 4];
    from.read_exact(&mut magic).map_err(|error| short(path, "its magic number", error))?;
    // Two zero bytes, 8 for unsigned bytes, the number of dimensions.
    if magic != [0, 0, 8, dimensions] {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} begins with {magic:02x?}, but an IDX file of bytes with {dimensions} \
                 dimensions begins with [00, 00, 08, {dimensions:02x}]: is it the right file?",
                path.display()
            ),
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let mut extent = [0; 4];
        from.read_exact(&mut extent).map_err(|error| short(path, "its dimensions", error))?;
        shape.push(u32::from_be_bytes(extent) as usize);
    }
    let entries = shape
        .iter()
        .try_fold(1_u64, |product, &extent| product.checked_mul(extent as u64))
        .filter(|&entries| entries <= MAX_ENTRIES)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format!("{} claims to have {shape:?} entries", path.display()),
            )
        })?;
    let mut bytes = Vec::new();
    // One byte more than expected, to notice a file that is too long.
    from.take(entries + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| short(path, "its entries", error))?;
    if bytes.len() as u64 != entries {
        let (what, is) = if (bytes.len() as u64) < entries {
            ("truncated", bytes.len().to_string())
        } else {
            ("too long", format!("more than {entries}"))
        };
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{} is {what}: its header says {shape:?}, {entries} bytes, but it holds {is}; \
                 copy it again",
                path.display()
            ),
        ));
    }
    Ok(Idx { shape, bytes })
}

fn short(path: &Path, part: &str, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("{} is truncated or damaged: cannot read {part}; copy it again", path.display()),
    )
    .with_source(error)
}
