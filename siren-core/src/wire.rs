//! The binary format of updates.
//!
//! This is version 1 of the format. All numbers are little-endian, and there are no gaps:
//!
//! | field | type |
//! | --- | --- |
//! | `SIRENUPD` | 8 bytes |
//! | version, 1 | u32 |
//! | form: 0 dense, 1 sparse | u32 |
//! | epoch, shard, position | u64, u32, u64 |
//! | batches, examples | u64, u64 |
//! | loss | f64 |
//! | version of the parameters | u64 |
//! | squared norm | f64 |
//! | number of parameters, number of entries that follow | u64, u64 |
//! | dense: the values; sparse: the indices, then the values | f32; u32, f32 |
//! | XXH3 of all fields above, 64 bits | u64 |
//!
//! A decoded update has passed these checks: the checksum and the lengths are correct, the indices
//! rise, and every number is finite.

use xxhash_rust::xxh3::xxh3_64;

use crate::{Entry, Error, ErrorKind, Gradient, Result, SparseSlice, Update, UpdateId};

const MAGIC: [u8; 8] = *b"SIRENUPD";
const VERSION: u32 = 1;
const DENSE: u32 = 0;
const SPARSE: u32 = 1;
const HEADER: usize = 92;
const CHECKSUM: usize = 8;
/// The bytes of an encoded update without its entries.
pub(crate) const FRAME: usize = HEADER + CHECKSUM;

/// The number of bytes of an encoded update with this gradient.
pub fn encoded_len(gradient: &Gradient<'_>) -> usize {
    let entry = match gradient {
        Gradient::Dense(_) => 4,
        Gradient::Sparse(_) => 8,
    };
    HEADER + entry * gradient.stored() + CHECKSUM
}

/// Replaces the content of `bytes` by the encoded update.
pub fn encode(update: &Update<'_>, bytes: &mut Vec<u8>) {
    bytes.clear();
    append(update, bytes);
}

/// Appends an encoded update to `bytes`. Each of several appended updates can be decoded
/// independently.
pub fn append(update: &Update<'_>, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.reserve(encoded_len(&update.gradient));
    let form = match update.gradient {
        Gradient::Dense(_) => DENSE,
        Gradient::Sparse(_) => SPARSE,
    };
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(form.to_le_bytes());
    bytes.extend(update.id.epoch.to_le_bytes());
    bytes.extend(update.id.shard.to_le_bytes());
    bytes.extend(update.id.position.to_le_bytes());
    bytes.extend(update.batches.to_le_bytes());
    bytes.extend(update.examples.to_le_bytes());
    bytes.extend(update.loss.to_le_bytes());
    bytes.extend(update.version.to_le_bytes());
    bytes.extend(update.squared_norm.to_le_bytes());
    bytes.extend((update.gradient.dim() as u64).to_le_bytes());
    bytes.extend((update.gradient.stored() as u64).to_le_bytes());
    match update.gradient {
        Gradient::Dense(values) => {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Gradient::Sparse(sparse) => {
            let entries = sparse.entries();
            bytes.extend(entries.iter().flat_map(|entry| entry.index.to_le_bytes()));
            bytes.extend(entries.iter().flat_map(|entry| entry.value.to_le_bytes()));
        }
    }
    bytes.extend(xxh3_64(&bytes[start..]).to_le_bytes());
}

/// `true` if the bytes seem to begin with an update in sparse form. Only the field of the form is
/// read, and the bytes may still fail to decode.
pub fn is_sparse(bytes: &[u8]) -> bool {
    bytes.get(12..16) == Some(&SPARSE.to_le_bytes())
}

/// A buffer that updates are decoded into. Reuse it: it then allocates no memory for updates that
/// are not larger than earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    values: Vec<f32>,
    entries: Vec<Entry>,
}

impl Decoder {
    /// A decoder with an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decodes an update, and checks everything that can be checked without the plan of its epoch.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when the update has another version of the format,
    /// [`ErrorKind::Corrupt`] when the bytes are not an update, the checksum or a length is wrong,
    /// or the indices do not rise, and [`ErrorKind::Diverged`] when a number is not finite.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Update<'_>> {
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else {
            return corrupt(format!("{} bytes are too few for an update", bytes.len()));
        };
        let Some((header, payload)) = body.split_first_chunk::<HEADER>() else {
            return corrupt(format!("{} bytes are too few for an update", bytes.len()));
        };
        let mut header = Fields(header);
        if header.take() != MAGIC {
            return corrupt("these bytes are not an update".into());
        }
        let version = header.u32();
        if version != VERSION {
            return Err(Error::rejected(format!(
                "an update has version {version}, and this version of Siren reads version {VERSION}: run \
                 the driver and all workers with one version of Siren"
            )));
        }
        if xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return corrupt("the update's checksum does not fit".into());
        }
        let form = header.u32();
        let id = UpdateId { epoch: header.u64(), shard: header.u32(), position: header.u64() };
        let (batches, examples) = (header.u64(), header.u64());
        let loss = finite(f64::from_bits(header.u64()), "the loss")?;
        let version = header.u64();
        let squared_norm = finite(f64::from_bits(header.u64()), "the gradient's squared norm")?;
        let (dim, stored) = (header.u64(), header.u64());
        let gradient = match form {
            DENSE => self.dense(dim, stored, payload)?,
            SPARSE => self.sparse(dim, stored, payload)?,
            other => return corrupt(format!("a gradient in form {other}: 0 and 1 are known")),
        };
        Ok(Update { id, batches, examples, loss, version, squared_norm, gradient })
    }

    fn dense(&mut self, dim: u64, stored: u64, payload: &[u8]) -> Result<Gradient<'_>> {
        let (values, rest) = payload.as_chunks::<4>();
        if dim != stored || values.len() as u64 != stored || !rest.is_empty() {
            return corrupt(format!(
                "a dense gradient of {dim} parameters with {stored} entries in {} bytes",
                payload.len()
            ));
        }
        self.values.clear();
        self.values.extend(values.iter().map(|&value| f32::from_le_bytes(value)));
        all_finite(self.values.iter().copied())?;
        Ok(Gradient::Dense(&self.values))
    }

    fn sparse(&mut self, dim: u64, stored: u64, payload: &[u8]) -> Result<Gradient<'_>> {
        let (numbers, rest) = payload.as_chunks::<4>();
        let count = numbers.len() / 2;
        if stored != count as u64 || 2 * count != numbers.len() || !rest.is_empty() || stored > dim
        {
            return corrupt(format!(
                "a sparse gradient of {dim} parameters with {stored} entries in {} bytes",
                payload.len()
            ));
        }
        let (indices, values) = numbers.split_at(count);
        let entries = indices.iter().zip(values).map(|(&index, &value)| Entry {
            index: u32::from_le_bytes(index),
            value: f32::from_le_bytes(value),
        });
        self.entries.clear();
        self.entries.extend(entries);
        all_finite(self.entries.iter().map(|entry| entry.value))?;
        let dim = usize::try_from(dim).unwrap_or(usize::MAX);
        match SparseSlice::new(dim, &self.entries) {
            Ok(sparse) => Ok(Gradient::Sparse(sparse)),
            Err(error) => corrupt(error.message().to_owned()),
        }
    }
}

/// Reads the fields of a header of the right length.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the header holds all its fields");
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

fn corrupt<T>(message: String) -> Result<T> {
    Err(Error::new(ErrorKind::Corrupt, message))
}

fn finite(value: f64, what: &str) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::new(ErrorKind::Diverged, format!("{what} of an update is {value}")))
}

/// Checks all values. The first pass has no branch for each value, so that it can be vectorised.
fn all_finite(values: impl Iterator<Item = f32> + Clone) -> Result<()> {
    if values.clone().fold(true, |finite, value| finite & value.is_finite()) {
        return Ok(());
    }
    let at = values.clone().position(|value| !value.is_finite()).unwrap_or_default();
    Err(Error::new(ErrorKind::Diverged, format!("value {at} of an update is not finite")))
}

#[cfg(test)]
mod tests;
