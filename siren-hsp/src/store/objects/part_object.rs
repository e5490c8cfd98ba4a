//! A part of the parameters with its optimizer state.
//!
//! The encoding, all numbers little-endian, without gaps:
//!
//! | field | type |
//! | --- | --- |
//! | `SIRENPRT` | 8 bytes |
//! | format, 2; 1 if it contains exactly its epoch's cut, else 0 | u32, u32 |
//! | sequence, generation, version | u64, u64, u64 |
//! | sum and maximum of staleness | u64, u64 |
//! | numbers of parameters, of optimizer state vectors, of shards | u64, u32, u32 |
//! | the measurement of noise, see `part_noise.rs` | 16 times 8 bytes |
//! | number of entries in the sum of the noise window | u64 |
//! | for each shard: batches, examples, loss | u64, u64, f64 |
//! | XXH3 of all that | u64 |
//! | the parameters, their XXH3 | f32, u64 |
//! | the optimizer state, the sum of the noise window, their XXH3 | f32, f32, u64 |
//!
//! The fields that a pull needs come first, so that it does not read those for aggregators.

use siren_core::{Error, ErrorKind, Result, Watermark};
use xxhash_rust::xxh3::xxh3_64;

use super::part_noise::PartNoise;

const MAGIC: [u8; 8] = *b"SIRENPRT";
const FORMAT: u32 = 2;
const HEADER_LEN: usize = 80 + 8 * PartNoise::WORDS;
const WATERMARK_LEN: usize = 24;
const CHECKSUM_LEN: usize = 8;

/// The metadata of a part: everything except its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Meta {
    /// The number of writes of the part.
    pub(super) sequence: u64,
    /// The generation whose updates it contains, in addition to all earlier ones.
    pub(super) generation: u64,
    /// `true` if it contains exactly its epoch's cut.
    pub(super) closed: bool,
    /// The number of updates that it contains, over all epochs.
    pub(super) version: u64,
    pub(super) staleness: u64,
    pub(super) staleness_max: u64,
    /// The applied batches of each shard.
    pub(super) marks: Vec<Watermark>,
    pub(super) noise: PartNoise,
    len: usize,
    optimizer_state: usize,
    window_sum: usize,
}

/// A part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PartObject {
    pub(super) meta: Meta,
    pub(super) values: Vec<f32>,
    pub(super) optimizer_state: Vec<Vec<f32>>,
    /// The sum of the updates in the open noise window, at the sampled entries; empty if there is
    /// none.
    pub(super) window_sum: Vec<f32>,
}

/// The number of bytes of a part's metadata, with this number of shards.
pub(super) fn meta_len(shards: usize) -> usize {
    HEADER_LEN + WATERMARK_LEN * shards + CHECKSUM_LEN
}

/// The number of bytes that a pull needs of a part with this number of parameters.
pub(super) fn pull_len(shards: usize, parameters: usize) -> usize {
    meta_len(shards) + 4 * parameters + CHECKSUM_LEN
}

impl Meta {
    /// The number of parameters.
    pub(super) fn parameters(&self) -> usize {
        self.len
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(u32::from(self.closed).to_le_bytes());
        let numbers =
            [self.sequence, self.generation, self.version, self.staleness, self.staleness_max];
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend((self.len as u64).to_le_bytes());
        bytes.extend((self.optimizer_state as u32).to_le_bytes());
        bytes.extend((self.marks.len() as u32).to_le_bytes());
        bytes.extend(self.noise.to_words().iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend((self.window_sum as u64).to_le_bytes());
        for mark in &self.marks {
            bytes.extend(mark.batches.to_le_bytes());
            bytes.extend(mark.examples.to_le_bytes());
            bytes.extend(mark.loss.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes[start..]).to_le_bytes());
    }

    /// Decodes the metadata and returns it with the offset of the parameters; `None` when the bytes
    /// end too early.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        if bytes.len() < 12 {
            return Ok(None);
        }
        if bytes[..8] != MAGIC {
            return corrupt("these bytes are not a part of the parameters");
        }
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        // A part of another format may be shorter than this format's header.
        let format = u32_at(8);
        if format != FORMAT {
            return Err(Error::rejected(format!(
                "a part of the parameters has format {format}, and this version of Siren reads format \
                 {FORMAT}: use the version of Siren that wrote it, or give another run name"
            )));
        }
        if bytes.len() < HEADER_LEN {
            return Ok(None);
        }
        let shards = u32_at(68) as usize;
        let end = meta_len(shards);
        if bytes.len() < end {
            return Ok(None);
        }
        if xxh3_64(&bytes[..end - CHECKSUM_LEN]) != u64_at(end - CHECKSUM_LEN) {
            return corrupt("the checksum of a part's metadata is wrong");
        }
        let mark = |shard: usize| {
            let at = HEADER_LEN + WATERMARK_LEN * shard;
            Watermark {
                batches: u64_at(at),
                examples: u64_at(at + 8),
                loss: f64::from_bits(u64_at(at + 16)),
            }
        };
        let meta = Self {
            closed: u32_at(12) != 0,
            sequence: u64_at(16),
            generation: u64_at(24),
            version: u64_at(32),
            staleness: u64_at(40),
            staleness_max: u64_at(48),
            len: usize::try_from(u64_at(56)).unwrap_or(usize::MAX),
            optimizer_state: u32_at(64) as usize,
            marks: (0..shards).map(mark).collect(),
            noise: PartNoise::from_words(std::array::from_fn(|word| u64_at(72 + 8 * word))),
            window_sum: usize::try_from(u64_at(HEADER_LEN - 8)).unwrap_or(usize::MAX),
        };
        Ok(Some((meta, end)))
    }

    /// Reads the parameters from offset `at` into `values`; returns `None` when the bytes end too
    /// early.
    pub(super) fn values(&self, bytes: &[u8], at: usize, values: &mut [f32]) -> Result<Option<()>> {
        if self.len != values.len() {
            return corrupt(&format!(
                "a part has {} parameters, but {} are expected",
                self.len,
                values.len()
            ));
        }
        let Some(bytes) = bytes.get(at..at + 4 * self.len + CHECKSUM_LEN) else {
            return Ok(None);
        };
        read(bytes, values)?;
        Ok(Some(()))
    }
}

/// Reads numbers followed by their checksum.
fn read(bytes: &[u8], into: &mut [f32]) -> Result<()> {
    let Some((numbers, checksum)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
        return corrupt("a part of the parameters ends early");
    };
    if xxh3_64(numbers) != u64::from_le_bytes(*checksum) {
        return corrupt("the checksum of a part of the parameters is wrong");
    }
    for (value, &bytes) in into.iter_mut().zip(numbers.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(bytes);
    }
    Ok(())
}

impl PartObject {
    /// A part at a barrier.
    pub(super) fn new(
        generation: u64,
        version: u64,
        values: Vec<f32>,
        optimizer_state: Vec<Vec<f32>>,
    ) -> Self {
        let meta = Meta {
            sequence: 1,
            generation,
            closed: true,
            version,
            len: values.len(),
            optimizer_state: optimizer_state.len(),
            ..Meta::default()
        };
        Self { meta, values, optimizer_state, window_sum: Vec::new() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = self.values.len() * (1 + self.optimizer_state.len()) + self.window_sum.len();
        let mut bytes =
            Vec::with_capacity(meta_len(self.meta.marks.len()) + 4 * numbers + 2 * CHECKSUM_LEN);
        let meta = Meta {
            len: self.values.len(),
            optimizer_state: self.optimizer_state.len(),
            window_sum: self.window_sum.len(),
            ..self.meta.clone()
        };
        meta.encode(&mut bytes);
        let mut write = |vectors: &[&[f32]]| {
            let start = bytes.len();
            for vector in vectors {
                bytes.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            }
            bytes.extend(xxh3_64(&bytes[start..]).to_le_bytes());
        };
        write(&[&self.values]);
        let rest = self.optimizer_state.iter().chain([&self.window_sum]);
        write(&rest.map(Vec::as_slice).collect::<Vec<_>>());
        bytes
    }

    /// Reads a whole part of `len` parameters.
    pub(super) fn decode(bytes: &[u8], len: usize) -> Result<Self> {
        let Some((meta, at)) = Meta::decode(bytes)? else {
            return corrupt("a part of the parameters ends early");
        };
        let mut values = vec![0.0; len];
        if meta.values(bytes, at, &mut values)?.is_none() {
            return corrupt("a part of the parameters ends early");
        }
        let rest = &bytes[at + 4 * len + CHECKSUM_LEN..];
        let state = len.checked_mul(meta.optimizer_state);
        let numbers = state.and_then(|n| n.checked_add(meta.window_sum));
        let expected = numbers.and_then(|n| n.checked_mul(4)?.checked_add(CHECKSUM_LEN));
        let Some(state) = state.filter(|_| expected == Some(rest.len())) else {
            return corrupt("a part of the parameters has optimizer state of the wrong length");
        };
        let mut all = vec![0.0; state + meta.window_sum];
        read(rest, &mut all)?;
        let window_sum = all.split_off(state);
        let optimizer_state = all.chunks(len.max(1)).map(<[f32]>::to_vec).collect();
        Ok(Self { meta, values, optimizer_state, window_sum })
    }
}

fn corrupt<T>(message: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Corrupt, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> PartObject {
        let optimizer_state = vec![vec![0.5, 0.25, -1.0], vec![9.0, 8.0, 7.0]];
        let mut object = PartObject::new(3, 17, vec![1.0, -2.0, 3.5], optimizer_state);
        object.meta.marks = vec![Watermark { batches: 1, examples: 2, loss: -0.125 }; 2];
        object.meta.staleness = 5;
        object.meta.staleness_max = 4;
        object.meta.noise = PartNoise::from_words(std::array::from_fn(|word| word as u64));
        object.window_sum = vec![0.5, 0.25];
        object.meta.window_sum = 2;
        object
    }

    #[test]
    fn a_part_is_read_as_it_was_written() {
        let object = object();
        let bytes = object.encode();
        assert_eq!(PartObject::decode(&bytes, 3).unwrap(), object);
        let plain = PartObject { optimizer_state: vec![], window_sum: vec![], ..object.clone() };
        let bytes = plain.encode();
        let read = PartObject::decode(&bytes, 3).unwrap();
        assert_eq!((read.optimizer_state, read.window_sum), (vec![], vec![]));
        assert_eq!(bytes.len(), pull_len(2, 3) + CHECKSUM_LEN);
    }

    #[test]
    fn a_pull_reads_the_beginning_only() {
        let bytes = object().encode();
        let start = &bytes[..pull_len(2, 3)];
        let (meta, at) = Meta::decode(start).unwrap().unwrap();
        let mut values = [0.0; 3];
        meta.values(start, at, &mut values).unwrap().unwrap();
        assert_eq!((meta, values), (object().meta, [1.0, -2.0, 3.5]));
        // With one byte less, it needs more.
        let (meta, at) = Meta::decode(start).unwrap().unwrap();
        assert_eq!(meta.values(&start[..start.len() - 1], at, &mut values).unwrap(), None);
        assert_eq!(Meta::decode(&bytes[..meta_len(2) - 1]).unwrap(), None);
    }

    #[test]
    fn a_short_part_of_another_format_is_refused_by_its_format() {
        let mut bytes = object().encode();
        bytes[8] = 1;
        let error = Meta::decode(&bytes[..100]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains("has format 1,"), "{error}");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = object().encode();
        for bit in 0..8 * bytes.len() {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = PartObject::decode(&bad, 3).unwrap_err();
            let is_format = (8..12).contains(&(bit / 8));
            let kind = if is_format { ErrorKind::Rejected } else { ErrorKind::Corrupt };
            assert_eq!(error.kind(), kind, "bit {bit}");
        }
    }
}
