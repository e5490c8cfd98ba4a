//! Training data on S3.

use std::sync::Arc;

use siren_core::{DataSource, Error, ErrorKind, Result};
use siren_hsp::data::MemorySource;
use siren_hsp::objects::{Fetched, Objects};

/// Opens the packed examples that stand under a key.
///
/// # Errors
///
/// Rejected when there are none, corrupt when they cannot be read; transient ones of shared storage.
pub async fn open_data(objects: Arc<dyn Objects>, key: &str) -> Result<Arc<dyn DataSource>> {
    let Fetched::Changed { bytes, .. } = objects.get(key, None).await? else {
        return Err(Error::rejected(format!("there is no data under {key}: pack and upload it")));
    };
    let (head, records) = bytes.split_first_chunk::<8>().ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, format!("the data under {key} is cut short"))
    })?;
    Ok(Arc::new(MemorySource::new(records, u64::from_le_bytes(*head) as usize)?))
}
