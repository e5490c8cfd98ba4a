//! The state of a run at a barrier, as one file.
//!
//! Format, version 2, all numbers little-endian: the magic `SIRENCKP`, the version (u32), the
//! length of the header (u64), the header (JSON), and the vectors that the header counts, each of
//! `dim` f32: the parameters, then the optimizer state. The file ends with the XXH3 (64 bits) of
//! everything before.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use siren_core::{Error, ErrorKind, Evaluation, Job, NoiseAverages, Result, Snapshot, Usd, file};
use xxhash_rust::xxh3::Xxh3;

use crate::forecast::Forecast;
use crate::{Config, EpochRecord};

const MAGIC: &[u8; 8] = b"SIRENCKP";
const VERSION: u32 = 2;

/// The state of a run at a barrier: everything necessary to continue from there.
///
/// [`Trainer::resume`](crate::Trainer::resume) continues the run. The parameters can also be used
/// without a trainer:
///
/// ```
/// use siren_core::ErrorKind;
/// use siren_hsp::{Checkpoint, MemoryStore};
///
/// fn trained_so_far(folder: &str) -> siren_core::Result<MemoryStore> {
///     let checkpoint = Checkpoint::load(folder)?;
///     println!("{} epochs are done", checkpoint.epochs().len());
///     MemoryStore::new(checkpoint.values().to_vec())
/// }
///
/// let error = trained_so_far("no/such/folder").err();
/// assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Other));
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(crate) header: Header,
    pub(crate) snapshot: Snapshot,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) config: Config,
    pub(crate) layout: u64,
    /// The fingerprint of the training data; missing in a checkpoint of an earlier version.
    #[serde(default)]
    pub(crate) data: Option<u64>,
    pub(crate) initial: Evaluation,
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) elapsed_s: f64,
    pub(crate) cost: Usd,
    /// The measured speed of a worker, for the next forecast.
    pub(crate) forecast: Forecast,
    sealed_epochs: u64,
    version: u64,
    dim: u64,
    optimizer_state: u64,
    #[serde(default)]
    noise: Vec<NoiseAverages>,
}

impl Header {
    #[expect(clippy::too_many_arguments, reason = "the parts of a checkpoint, once")]
    pub(crate) fn new(
        config: &Config,
        job: &Job,
        initial: Evaluation,
        epochs: &[EpochRecord],
        elapsed_s: f64,
        cost: Usd,
        forecast: Forecast,
        snapshot: &Snapshot,
    ) -> Self {
        Self {
            config: config.clone(),
            layout: job.layout,
            data: Some(job.data),
            initial,
            epochs: epochs.to_vec(),
            elapsed_s,
            cost,
            forecast,
            sealed_epochs: snapshot.sealed_epochs,
            version: snapshot.version,
            dim: snapshot.values.len() as u64,
            optimizer_state: snapshot.optimizer_state.len() as u64,
            noise: snapshot.noise.clone(),
        }
    }
}

impl Checkpoint {
    /// Reads the file `checkpoint` in the folder of a run.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Other`] when the file does not exist or cannot be read,
    /// [`ErrorKind::Rejected`] when it has another version, and [`ErrorKind::Corrupt`] when its
    /// checksum or format is wrong.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().join("checkpoint");
        let bytes = std::fs::read(&path).map_err(|error| {
            Error::new(
                ErrorKind::Other,
                format!(
                    "cannot read {}: give the folder of a run that got as far as its start",
                    path.display()
                ),
            )
            .with_source(error)
        })?;
        let name = path.display();
        let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk::<4>());
        if let Some(version) = version.map(|bytes| u32::from_le_bytes(*bytes))
            && version != VERSION
        {
            return Err(Error::rejected(format!(
                "{name} has version {version}, and this version of Siren reads version {VERSION}: resume \
                 with the version of Siren that wrote it, or start again without resuming"
            )));
        }
        Self::decode(&bytes).map_err(|why| {
            Error::new(
                ErrorKind::Corrupt,
                format!(
                    "{name} cannot be used: {why}; start again without resuming, or restore the file"
                ),
            )
        })
    }

    /// The settings of the run.
    pub fn config(&self) -> &Config {
        &self.header.config
    }

    /// The evaluation of the model before the first epoch.
    pub fn initial(&self) -> &Evaluation {
        &self.header.initial
    }

    /// The epochs sealed so far.
    pub fn epochs(&self) -> &[EpochRecord] {
        &self.header.epochs
    }

    /// The parameters.
    pub fn values(&self) -> &[f32] {
        &self.snapshot.values
    }

    /// The hash of the layout of the model.
    pub fn layout(&self) -> u64 {
        self.header.layout
    }

    /// The [fingerprint](crate::fingerprint) of the training data. `None` in a checkpoint that was
    /// written before there were fingerprints.
    pub fn data_fingerprint(&self) -> Option<u64> {
        self.header.data
    }

    /// Writes a checkpoint into the folder of a run, replacing the previous one.
    pub(crate) fn save(folder: &Path, header: &Header, snapshot: &Snapshot) -> Result<()> {
        file::replace(&folder.join("checkpoint"), |to| {
            let mut to = Summed { to, hash: Xxh3::new() };
            let text = serde_json::to_vec(header)?;
            to.write_all(MAGIC)?;
            to.write_all(&VERSION.to_le_bytes())?;
            to.write_all(&(text.len() as u64).to_le_bytes())?;
            to.write_all(&text)?;
            let mut chunk = Vec::new();
            for vector in std::iter::once(&snapshot.values).chain(&snapshot.optimizer_state) {
                for part in vector.chunks(4_096) {
                    chunk.clear();
                    chunk.extend(part.iter().flat_map(|x| x.to_le_bytes()));
                    to.write_all(&chunk)?;
                }
            }
            let digest = to.hash.digest();
            to.to.write_all(&digest.to_le_bytes())
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Err("it is not a checkpoint of Siren".into());
        };
        let (_version, rest) = rest.split_first_chunk::<4>().ok_or("it is truncated")?;
        let (body, digest) = bytes.split_last_chunk::<8>().ok_or("it is truncated")?;
        if xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*digest) {
            return Err("its checksum is wrong, so it is truncated or damaged".into());
        }
        let (length, rest) = rest.split_first_chunk::<8>().ok_or("it is truncated")?;
        let rest = &rest[..rest.len().saturating_sub(digest.len())];
        let (text, vectors) = usize::try_from(u64::from_le_bytes(*length))
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or("its header is longer than the file")?;
        let header: Header =
            serde_json::from_slice(text).map_err(|error| format!("its header is bad: {error}"))?;
        let dim = header.dim as usize;
        let expected = (header.optimizer_state as usize)
            .checked_add(1)
            .and_then(|n| n.checked_mul(dim)?.checked_mul(4));
        if dim == 0 || expected != Some(vectors.len()) {
            return Err("its vectors are not as long as its header says".into());
        }
        let mut vectors = vectors.chunks_exact(dim * 4).map(|bytes| {
            let numbers = bytes.as_chunks::<4>().0.iter();
            numbers.map(|&x| f32::from_le_bytes(x)).collect()
        });
        let snapshot = Snapshot {
            sealed_epochs: header.sealed_epochs,
            version: header.version,
            values: vectors.next().unwrap_or_default(),
            optimizer_state: vectors.collect(),
            noise: header.noise.clone(),
        };
        snapshot.check().map_err(|error| error.to_string())?;
        Ok(Self { header, snapshot })
    }
}

/// Hashes the bytes that it writes.
struct Summed<'a> {
    to: &'a mut dyn Write,
    hash: Xxh3,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}
