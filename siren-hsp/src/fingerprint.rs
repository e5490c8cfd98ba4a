//! A short hash that identifies training data.

use siren_core::{DataSource, Result};
use xxhash_rust::xxh3::Xxh3;

/// The number of examples in each range that is read.
const EXAMPLES: u64 = 64;

/// A fingerprint of a data source: the XXH3 hash of the number of examples, and of the bytes of the
/// first, the middle and the last 64 examples.
///
/// Two sources with the same examples in the same format have the same fingerprint. A source that
/// differs only in examples outside of these ranges has it too, so the fingerprint finds mistakes,
/// not manipulation.
///
/// ```
/// use siren_core::{DataSource, Result};
/// use siren_hsp::{Checkpoint, fingerprint};
///
/// /// `true` if a run that left this checkpoint can continue with this data.
/// async fn fits(checkpoint: &Checkpoint, train: &dyn DataSource) -> Result<bool> {
///     Ok(checkpoint.data_fingerprint() == Some(fingerprint(train).await?))
/// }
/// ```
///
/// # Errors
///
/// Returns the errors of the source.
pub async fn fingerprint(data: &dyn DataSource) -> Result<u64> {
    let examples = data.len();
    let length = examples.min(EXAMPLES);
    let mut starts = vec![0, (examples - length) / 2, examples - length];
    // Short data has fewer ranges.
    starts.dedup();
    let mut hash = Xxh3::new();
    hash.update(&examples.to_le_bytes());
    for start in starts {
        if length > 0 {
            let bytes = data.fetch(start..start + length).await?;
            // With the length of each range, the border between two ranges counts.
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
        }
    }
    Ok(hash.digest())
}
