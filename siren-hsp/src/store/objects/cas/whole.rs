//! The single object of a [`CasStore`](super::CasStore), and the changes that pushes and seals
//! make.

use siren_core::wire::{self, Decoder};
use siren_core::{
    EpochPlan, EpochSummary, Error, ErrorKind, Gradient, PushOutcome, Result, Update, Watermark,
};

use super::super::apply::Place;
use super::super::part_object::PartObject;
use super::super::seal::summary;
use super::super::state::{Open, State, fenced, floor};
use crate::store::noise::Sample;
use crate::store::update::{self, Piece, within};

/// The content of the store.
pub(super) struct Whole {
    pub(super) state: State,
    pub(super) part: PartObject,
    /// The updates of an incomplete round of bulk mode, encoded by [`wire`].
    pub(super) kept: Vec<Vec<u8>>,
}

impl Whole {
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let state = self.state.encode()?;
        let part = self.part.encode();
        for piece in [&state, &part].into_iter().chain(&self.kept) {
            bytes.extend((piece.len() as u64).to_le_bytes());
            bytes.extend(piece);
        }
        Ok(bytes)
    }

    pub(super) fn decode(mut bytes: &[u8], dim: usize) -> Result<Self> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let piece = bytes.split_first_chunk::<8>().and_then(|(length, rest)| {
                rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
            });
            let Some((piece, rest)) = piece else { break };
            pieces.push(piece);
            bytes = rest;
        }
        match (&pieces[..], bytes) {
            ([state, part, kept @ ..], []) => Ok(Self {
                state: State::decode(state, dim, "the run's object")?,
                part: PartObject::decode(part, dim)?,
                kept: kept.iter().map(|piece| piece.to_vec()).collect(),
            }),
            _ => Err(Error::new(ErrorKind::Corrupt, "the run's object ends early")),
        }
    }

    /// The pushed batches of each shard, applied or kept.
    pub(super) fn pushed(&self) -> Result<Vec<Watermark>> {
        let mut marks = self.part.meta.marks.clone();
        for kept in &self.kept {
            let mut decoder = Decoder::new();
            let update = decoder.decode(kept)?;
            if let Some(mark) = marks.get_mut(update.id.shard as usize) {
                mark.batches += update.batches;
                mark.examples += update.examples;
                mark.loss += update.loss;
            }
        }
        Ok(marks)
    }

    pub(super) fn push(&mut self, update: &Update<'_>, dim: usize) -> Result<(PushOutcome, bool)> {
        let id = update.id;
        let plan = self.state.current(id.epoch)?.plan.clone();
        update::check(&plan, dim, update)?;
        let pushed = self.pushed()?;
        let counted = pushed[id.shard as usize].batches;
        if id.position < counted {
            return Ok((PushOutcome::Duplicate, false));
        }
        let floor = |marks: &[Watermark]| floor(&plan, marks.iter().map(|mark| mark.batches));
        let bulk = plan.sync_mode.merges_rounds();
        let round = plan.updates(id.position);
        if id.position > counted || (bulk && round > floor(&pushed)) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "an update of shard {} at batch {} in round {round}, but {counted} batches are \
                     counted and round {} is open",
                    id.shard,
                    id.position,
                    floor(&pushed)
                ),
            ));
        }
        if bulk {
            let mut bytes = Vec::new();
            wire::encode(update, &mut bytes);
            self.kept.push(bytes);
            if floor(&self.pushed()?) > round {
                self.end_round(&plan)?;
            }
        } else {
            let piece = piece(update);
            self.part.apply(&plan, self.place(), update, piece, &mut Vec::new())?;
            self.part.meta.sequence += 1;
        }
        Ok((PushOutcome::Accepted, true))
    }

    fn place(&self) -> Place {
        Place { sample: Sample::new(self.part.values.len()), start: 0 }
    }

    /// Applies the mean of the kept updates.
    pub(super) fn end_round(&mut self, plan: &EpochPlan) -> Result<()> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return Ok(());
        }
        let mut decoders = vec![Decoder::new(); kept.len()];
        let decoded = decoders.iter_mut().zip(&kept).map(|(decoder, kept)| decoder.decode(kept));
        let mut updates = decoded.collect::<Result<Vec<_>>>()?;
        updates.sort_unstable_by_key(|update| update.id.shard);
        let updates: Vec<_> = updates.iter().map(|update| (*update, piece(update))).collect();
        self.part.apply_round(plan, self.place(), &updates, &mut Vec::new())?;
        self.part.meta.sequence += 1;
        Ok(())
    }

    pub(super) fn open(&mut self, plan: &EpochPlan) -> Result<((), bool)> {
        let state = &mut self.state;
        if plan.epoch < state.sealed_epochs {
            return Err(fenced(plan.epoch));
        }
        if state.open.as_ref().is_some_and(|open| open.plan == *plan) {
            return Ok(((), false));
        }
        if state.open.is_some() || plan.epoch != state.sealed_epochs {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "epoch {} cannot be opened: another plan is open, or the next epoch is {}",
                    plan.epoch, state.sealed_epochs
                ),
            ));
        }
        state.taken += 1;
        state.open = Some(Open {
            generation: state.taken,
            plan: plan.clone(),
            aggregators: 0,
            marks: vec![0; plan.shards as usize],
            closed: false,
        });
        self.part.begin_epoch(state.taken, plan);
        Ok(((), true))
    }

    pub(super) fn seal(&mut self, epoch: u64) -> Result<(EpochSummary, bool)> {
        if let Some(last) = self.state.last.as_ref().filter(|last| last.epoch == epoch) {
            return Ok((last.clone(), false));
        }
        let plan = match &self.state.open {
            Some(open) if open.plan.epoch == epoch => open.plan.clone(),
            _ => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("epoch {epoch} is neither open nor the last one sealed"),
                ));
            }
        };
        self.end_round(&plan)?;
        self.part.drop_window();
        let sealed = summary(&plan, std::slice::from_ref(&self.part.meta));
        self.state.open = None;
        self.state.sealed_epochs = epoch + 1;
        self.state.version = sealed.version;
        self.state.last = Some(sealed.clone());
        Ok((sealed, true))
    }
}

fn piece<'a>(update: &Update<'a>) -> Piece<'a> {
    match update.gradient {
        Gradient::Dense(values) => Piece::Dense(values),
        Gradient::Sparse(sparse) => Piece::Sparse(within(sparse.entries(), &(0..sparse.dim()))),
    }
}
