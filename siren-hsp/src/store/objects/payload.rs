//! The object that one push writes.
//!
//! It starts with a summary: the update without its gradient, encoded by [`wire`] as a sparse
//! update without entries. A dense gradient follows as one update for each part of the parameters,
//! so that an aggregator reads only the bytes of its parts. A sparse gradient follows as one
//! update.

use std::ops::Range;

use siren_core::wire::{self, Decoder};
use siren_core::{Error, ErrorKind, Gradient, Result, SparseSlice, Update, UpdateId};

use super::keys::Cuts;
use crate::store::update::{Piece, within};

/// The number of bytes of a summary, and of everything in a dense update except its values.
pub(super) const SUMMARY: usize = 100;

/// Encodes an update as an object.
pub(super) fn encode(update: &Update<'_>, cuts: Cuts) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(match update.gradient {
        Gradient::Dense(values) => SUMMARY * (1 + cuts.parts) + 4 * values.len(),
        Gradient::Sparse(_) => SUMMARY + wire::encoded_len(&update.gradient),
    });
    let nothing = Gradient::Sparse(SparseSlice::new(cuts.dim, &[])?);
    wire::append(&Update { gradient: nothing, ..*update }, &mut bytes);
    debug_assert_eq!(bytes.len(), SUMMARY);
    match update.gradient {
        Gradient::Dense(values) => {
            for part in 0..cuts.parts {
                let gradient = Gradient::Dense(&values[cuts.range(part)]);
                wire::append(&Update { gradient, ..*update }, &mut bytes);
            }
        }
        Gradient::Sparse(_) => wire::append(update, &mut bytes),
    }
    Ok(bytes)
}

/// The byte range of a part in a dense update.
pub(super) fn dense_range(cuts: Cuts, part: usize) -> Range<usize> {
    let range = cuts.range(part);
    let start = SUMMARY * (1 + part) + 4 * range.start;
    start..start + SUMMARY + 4 * range.len()
}

/// `true` if these bytes are the [`dense_range`] of a part in a dense update; otherwise the update
/// is sparse.
pub(super) fn is_dense(bytes: &[u8], cuts: Cuts, part: usize) -> bool {
    bytes.len() == dense_range(cuts, part).len()
        && bytes.starts_with(b"SIRENUPD")
        && !wire::is_sparse(bytes)
}

/// The fetched bytes of an update.
pub(super) enum FetchedUpdate {
    /// The bytes of one part of a dense update.
    Part(Vec<u8>),
    /// The whole update.
    Whole(Vec<u8>),
}

/// Decodes an update's summary.
pub(super) fn summary(bytes: &[u8], id: UpdateId) -> Result<Update<'static>> {
    let mut decoder = Decoder::new();
    let update = decoder.decode(bytes.get(..SUMMARY).unwrap_or(bytes)).map_err(|e| about(id, e))?;
    check_id(&update, id)?;
    Ok(Update { gradient: Gradient::Dense(&[]), ..update })
}

/// Decodes an update, and its entries for a part of the parameters.
pub(super) fn decode<'a>(
    decoder: &'a mut Decoder,
    fetched: &FetchedUpdate,
    id: UpdateId,
    cuts: Cuts,
    part: usize,
) -> Result<(Update<'a>, Piece<'a>)> {
    let bytes = match fetched {
        FetchedUpdate::Part(bytes) => bytes,
        FetchedUpdate::Whole(bytes) => {
            let rest = bytes.get(SUMMARY..).unwrap_or_default();
            match wire::is_sparse(rest) {
                true => rest,
                false => bytes.get(dense_range(cuts, part)).unwrap_or_default(),
            }
        }
    };
    let update = decoder.decode(bytes).map_err(|error| about(id, error))?;
    check_id(&update, id)?;
    let range = cuts.range(part);
    let piece = match update.gradient {
        Gradient::Dense(values) if values.len() == range.len() => Piece::Dense(values),
        Gradient::Sparse(sparse) if sparse.dim() == cuts.dim => {
            Piece::Sparse(within(sparse.entries(), &range))
        }
        other => {
            let message =
                format!("its gradient of {} parameters does not fit the model", other.dim());
            return Err(about(id, Error::new(ErrorKind::Corrupt, message)));
        }
    };
    Ok((update, piece))
}

/// Returns an error if the update belongs to another key.
fn check_id(update: &Update<'_>, id: UpdateId) -> Result<()> {
    if update.id == id {
        return Ok(());
    }
    let message = format!(
        "it contains the update of shard {} at batch {}",
        update.id.shard, update.id.position
    );
    Err(about(id, Error::new(ErrorKind::Corrupt, message)))
}

/// Wraps an error with the update that it concerns.
fn about(id: UpdateId, error: Error) -> Error {
    Error::new(
        error.kind(),
        format!("the update of shard {} at batch {} of epoch {}", id.shard, id.position, id.epoch),
    )
    .with_source(error)
}
