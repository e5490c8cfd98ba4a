//! What one push brings, as an object.
//!
//! First a summary: the update without its gradient, as [`wire`] writes one that is sparse and empty.
//! Then a dense gradient follows in one update for each part of the parameters, so that an aggregator
//! reads the bytes of its parts alone, and a sparse one as a whole.

use std::ops::Range;

use siren_core::wire::{self, Decoder};
use siren_core::{Error, ErrorKind, Gradient, Result, SparseSlice, Update, UpdateId};

use super::keys::Cuts;
use crate::store::update::{Piece, within};

/// Bytes of a summary, and of everything in a dense update but its numbers.
pub(super) const SUMMARY: usize = 100;

/// The object of an update.
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

/// Where a part of a dense update stands.
pub(super) fn dense_range(cuts: Cuts, part: usize) -> Range<usize> {
    let range = cuts.range(part);
    let start = SUMMARY * (1 + part) + 4 * range.start;
    start..start + SUMMARY + 4 * range.len()
}

/// `true` if these bytes are the [`dense_range`] of a part in a dense update; otherwise the update is
/// sparse.
pub(super) fn is_dense(bytes: &[u8], cuts: Cuts, part: usize) -> bool {
    bytes.len() == dense_range(cuts, part).len()
        && bytes.starts_with(b"SIRENUPD")
        && !wire::is_sparse(bytes)
}

/// What was fetched of an update.
pub(super) enum FetchedUpdate {
    /// A part of a dense one.
    Part(Vec<u8>),
    /// All of it.
    Whole(Vec<u8>),
}

/// An update's summary.
pub(super) fn summary(bytes: &[u8], id: UpdateId) -> Result<Update<'static>> {
    let mut decoder = Decoder::new();
    let update = decoder.decode(bytes.get(..SUMMARY).unwrap_or(bytes)).map_err(|e| about(id, e))?;
    check_id(&update, id)?;
    Ok(Update { gradient: Gradient::Dense(&[]), ..update })
}

/// An update, and what it has for a part of the parameters.
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
            let message = format!("a gradient of {} parameters in another model's", other.dim());
            return Err(about(id, Error::new(ErrorKind::Corrupt, message)));
        }
    };
    Ok((update, piece))
}

/// Refuses an update that stands under the key of another one.
fn check_id(update: &Update<'_>, id: UpdateId) -> Result<()> {
    if update.id == id {
        return Ok(());
    }
    let message = format!("it is that of shard {} at {}", update.id.shard, update.id.position);
    Err(about(id, Error::new(ErrorKind::Corrupt, message)))
}

/// Says which update an error is about.
fn about(id: UpdateId, error: Error) -> Error {
    Error::new(
        error.kind(),
        format!("the update of shard {} at batch {} of epoch {}", id.shard, id.position, id.epoch),
    )
    .with_source(error)
}
