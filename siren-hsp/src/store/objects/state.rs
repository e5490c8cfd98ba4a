//! The state of a run: the object in which all decisions are made.

use serde::{Deserialize, Serialize};
use siren_core::{EpochPlan, EpochSummary, Error, ErrorKind, Result};

use super::keys::Cuts;

/// The format version of all objects that this library writes.
const FORMAT: u32 = 3;

/// The state of a run. It is small and is replaced only by compare-and-swap. Each decision is made
/// by one of its versions: the restore that won, the open plan, the updates that count and their
/// order by cycles, and the cut of an epoch. The parts of the parameters follow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    format: u32,
    pub(super) dim: u64,
    pub(super) parts: u32,
    /// Grows with every change.
    pub(super) serial: u64,
    /// The numbers given to lineages and generations so far; no number is used twice.
    pub(super) taken: u64,
    /// The lineage of the parts; `None` before the first restore.
    pub(super) lineage: Option<u64>,
    pub(super) sealed_epochs: u64,
    /// The number of updates in the parameters at the last barrier.
    pub(super) version: u64,
    pub(super) last: Option<EpochSummary>,
    pub(super) open: Option<Open>,
}

/// An epoch that is not sealed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    /// The number in the keys of its updates; each opening of an epoch gets a new one.
    pub(super) generation: u64,
    pub(super) plan: EpochPlan,
    pub(super) aggregators: u32,
    /// The batches of each shard that are to be applied. Under bulk mode they grow by whole rounds.
    pub(super) marks: Vec<u64>,
    /// `true` if `marks` is final: no other update will ever count.
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(cuts: Cuts) -> Self {
        Self {
            format: FORMAT,
            dim: cuts.dim as u64,
            parts: cuts.parts as u32,
            serial: 1,
            taken: 0,
            lineage: None,
            sealed_epochs: 0,
            version: 0,
            last: None,
            open: None,
        }
    }

    /// A copy with the next serial number, to be changed before it is written.
    pub(super) fn next(&self) -> Self {
        Self { serial: self.serial + 1, ..self.clone() }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorKind::Other, "the run's state cannot be written").with_source(error)
        })
    }

    /// Decodes the state in the object `name`. Returns an error for another format or another
    /// model.
    pub(super) fn decode(bytes: &[u8], dim: usize, name: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let corrupt = |error| {
            Error::new(ErrorKind::Corrupt, "the run's state cannot be read").with_source(error)
        };
        let Format { format } = serde_json::from_slice(bytes).map_err(corrupt)?;
        if format != FORMAT {
            return Err(Error::rejected(format!(
                "{name} has format {format}, and this version of Siren reads format {FORMAT}: use the \
                 version of Siren that wrote it, or give another run name"
            )));
        }
        let state: Self = serde_json::from_slice(bytes).map_err(corrupt)?;
        if state.dim != dim as u64 {
            return Err(Error::rejected(format!(
                "the run's objects hold {} parameters, the model has {dim}: give another run name, \
                 or the model that the run was made with",
                state.dim
            )));
        }
        let sound = state.parts >= 1
            && u64::from(state.parts) <= state.dim
            && state.open.as_ref().is_none_or(|o| o.marks.len() == o.plan.shards as usize);
        if !sound {
            return Err(Error::new(ErrorKind::Corrupt, "the run's state contradicts itself"));
        }
        Ok(state)
    }

    pub(super) fn cuts(&self) -> Cuts {
        Cuts { dim: self.dim as usize, parts: self.parts as usize }
    }

    /// The lineage of the parts.
    pub(super) fn lineage(&self) -> Result<u64> {
        self.lineage.ok_or_else(|| {
            Error::new(
                ErrorKind::Conflict,
                "the store holds no parameters yet: initialise it, or restore some",
            )
        })
    }

    /// The epoch, if it is open and has no cut yet.
    pub(super) fn current(&self, epoch: u64) -> Result<&Open> {
        match &self.open {
            _ if epoch < self.sealed_epochs => Err(fenced(epoch)),
            Some(open) if open.plan.epoch == epoch && open.closed => Err(fenced(epoch)),
            Some(open) if open.plan.epoch == epoch => Ok(open),
            _ => Err(not_open(epoch)),
        }
    }
}

impl Open {
    /// The part of `pushed`, the pushed batches of each shard, that is to be applied now.
    pub(super) fn ready(&self, pushed: &[u64]) -> Vec<u64> {
        if !self.plan.sync_mode.merges_rounds() {
            return pushed.to_vec();
        }
        let whole = floor(&self.plan, pushed.iter().copied()).saturating_mul(self.plan.local_steps);
        pushed.iter().map(|&batches| batches.min(whole)).collect()
    }
}

/// The number of updates that every unfinished shard has among these batches; `u64::MAX` if all are
/// finished.
pub(super) fn floor(plan: &EpochPlan, batches: impl Iterator<Item = u64>) -> u64 {
    (0..)
        .zip(batches)
        .filter(|&(shard, batches)| batches < plan.shard_len(shard))
        .map(|(_, batches)| plan.updates(batches))
        .min()
        .unwrap_or(u64::MAX)
}

pub(super) fn fenced(epoch: u64) -> Error {
    Error::new(ErrorKind::Fenced, format!("epoch {epoch} is sealed"))
}

pub(super) fn not_open(epoch: u64) -> Error {
    Error::new(ErrorKind::Conflict, format!("epoch {epoch} is not open"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_of_another_format_is_refused_in_one_line() {
        let cuts = Cuts { dim: 3, parts: 1 };
        let written = State { format: FORMAT + 1, ..State::new(cuts) };
        let error = State::decode(&written.encode().unwrap(), 3, "runs/one/state").unwrap_err();
        let line = error.chain();
        for part in ["runs/one/state has format 4,", "reads format 3", "give another run name"] {
            assert!(line.contains(part), "{part} is missing: {line}");
        }
        assert!(!line.contains('\n'), "{line}");
        let ours = State::new(cuts);
        assert_eq!(State::decode(&ours.encode().unwrap(), 3, "runs/one/state").unwrap(), ours);
    }
}
