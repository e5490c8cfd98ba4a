//! The bytes of packed data.

use std::ops::Range;

use siren_core::{Error, ErrorKind, Result};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 8] = *b"SIRENDAT";
const VERSION: u32 = 1;
const EVEN: u32 = 0;
const RAGGED: u32 = 1;

/// Bytes before the index.
pub(super) const HEADER: usize = 56;

/// Bytes of the checksum behind each example.
pub(super) const CHECK: usize = 4;

/// The first bytes of packed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) examples: u64,
    pub(super) lengths: Lengths,
    /// The hash of the content.
    pub(super) content: u64,
    /// The checksum of the index.
    pub(super) index: u64,
}

/// The lengths of the examples, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lengths {
    /// All examples have this length.
    Even(u64),
    /// The index has the lengths, and this is their sum.
    Ragged(u64),
}

/// The places of the examples.
#[derive(Debug)]
pub(super) enum Index {
    Even {
        examples: u64,
        length: u64,
    },
    /// The start of each example, and the end of the last one.
    Ragged(Vec<u64>),
}

/// The checksum of an example.
pub(super) fn check(example: &[u8]) -> [u8; CHECK] {
    (xxh3_64(example) as u32).to_le_bytes()
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let (form, length) = match self.lengths {
            Lengths::Even(length) => (EVEN, length),
            Lengths::Ragged(all) => (RAGGED, all),
        };
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(form.to_le_bytes());
        for number in [self.examples, length, self.content, self.index] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        let mut header = [0; HEADER];
        header.copy_from_slice(&bytes);
        header
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let u32_at = |at: usize| {
            let field = bytes.get(at..at + 4).and_then(|field| field.first_chunk());
            field.map(|&field| u32::from_le_bytes(field)).ok_or_else(short)
        };
        let u64_at = |at: usize| {
            let field = bytes.get(at..at + 8).and_then(|field| field.first_chunk());
            field.map(|&field| u64::from_le_bytes(field)).ok_or_else(short)
        };
        if !bytes.starts_with(&MAGIC) {
            return Err(corrupt("it is not packed data: pack it first"));
        }
        let version = u32_at(8)?;
        if version != VERSION {
            return Err(Error::rejected(format!(
                "it has format {version}, and this version of Siren reads format {VERSION}: use the \
                 version of Siren that packed it, or pack the data again"
            )));
        }
        let (form, examples, length) = (u32_at(12)?, u64_at(16)?, u64_at(24)?);
        let (content, index) = (u64_at(32)?, u64_at(40)?);
        if u64_at(48)? != xxh3_64(&bytes[..48]) {
            return Err(corrupt("its head is damaged: pack the data again"));
        }
        let lengths = match form {
            EVEN => Lengths::Even(length),
            RAGGED => Lengths::Ragged(length),
            other => return Err(corrupt(format!("it is in form {other}: 0 and 1 are known"))),
        };
        let header = Self { examples, lengths, content, index };
        match examples > 0 && header.end().is_some() {
            true => Ok(header),
            false => Err(corrupt("its head contradicts itself: pack the data again")),
        }
    }

    /// The number of all bytes; `None` if it needs more than 64 bits.
    fn end(&self) -> Option<u64> {
        let (each, all) = match self.lengths {
            Lengths::Even(length) => (CHECK as u64, self.examples.checked_mul(length)?),
            Lengths::Ragged(all) => (CHECK as u64 + 4, all),
        };
        self.examples.checked_mul(each)?.checked_add(all)?.checked_add(HEADER as u64)
    }

    /// The end of the index.
    pub(super) fn index_end(&self) -> u64 {
        match self.lengths {
            Lengths::Even(_) => HEADER as u64,
            Lengths::Ragged(_) => HEADER as u64 + 4 * self.examples,
        }
    }

    /// The index at the beginning of these bytes.
    pub(super) fn index(&self, bytes: &[u8]) -> Result<Index> {
        let all = match self.lengths {
            Lengths::Even(length) => return Ok(Index::Even { examples: self.examples, length }),
            Lengths::Ragged(all) => all,
        };
        let length = usize::try_from(4 * self.examples).map_err(|_| short())?;
        let bytes = bytes.get(..length).ok_or_else(short)?;
        if xxh3_64(bytes) != self.index {
            return Err(corrupt("its index is damaged: pack the data again"));
        }
        let mut at = self.index_end();
        let mut starts = Vec::with_capacity(bytes.len() / 4 + 1);
        starts.push(at);
        for &length in bytes.as_chunks::<4>().0 {
            at += u64::from(u32::from_le_bytes(length)) + CHECK as u64;
            starts.push(at);
        }
        match self.end() == Some(at) {
            true => Ok(Index::Ragged(starts)),
            false => Err(corrupt(format!("its index is not of {all} bytes: pack the data again"))),
        }
    }
}

impl Index {
    /// The start of an example, or the end of the last one.
    fn start(&self, example: u64) -> u64 {
        match self {
            Self::Even { length, .. } => HEADER as u64 + example * (length + CHECK as u64),
            Self::Ragged(starts) => starts[example as usize],
        }
    }

    /// The number of all bytes.
    pub(super) fn end(&self) -> u64 {
        match self {
            Self::Even { examples, .. } => self.start(*examples),
            Self::Ragged(starts) => starts.last().copied().unwrap_or_default(),
        }
    }

    /// The range of bytes of these examples, with their checksums.
    pub(super) fn place(&self, examples: Range<u64>) -> Range<u64> {
        self.start(examples.start)..self.start(examples.end)
    }

    /// Checks the bytes of these examples, and removes the checksums.
    pub(super) fn unpack(&self, examples: Range<u64>, bytes: &mut Vec<u8>) -> Result<()> {
        let place = self.place(examples.clone());
        if bytes.len() as u64 != place.end - place.start {
            return Err(short());
        }
        let (mut from, mut to) = (0, 0);
        for example in examples {
            let next = (self.start(example + 1) - place.start) as usize;
            let end = next - CHECK;
            if bytes[end..next] != check(&bytes[from..end]) {
                return Err(corrupt(format!("example {example} is damaged: pack the data again")));
            }
            bytes.copy_within(from..end, to);
            to += end - from;
            from = next;
        }
        bytes.truncate(to);
        Ok(())
    }
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

fn short() -> Error {
    corrupt("it ends early: pack the data again, or upload it again")
}
