//! Applies updates to a part.

use siren_core::wire::Decoder;
use siren_core::{EpochPlan, Error, ErrorKind, Result, Update, UpdateId, Watermark};

use super::keys::Cuts;
use super::part_object::PartObject;
use super::payload::{self, FetchedUpdate};
use crate::kernel::Step;
use crate::store::noise::Sample;
use crate::store::update::{self, Piece, Weight};

/// The place of a part in the parameters.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// The entries of the model that noise is measured on.
    pub(super) sample: Sample,
    /// The index of the part's first parameter.
    pub(super) start: usize,
}

impl PartObject {
    /// Begins a newly opened epoch, unless the part has begun it already.
    pub(super) fn begin_epoch(&mut self, generation: u64, plan: &EpochPlan) {
        let meta = &mut self.meta;
        if meta.generation == generation {
            return;
        }
        meta.generation = generation;
        meta.closed = false;
        meta.marks = vec![Watermark::default(); plan.shards as usize];
        (meta.staleness, meta.staleness_max) = (0, 0);
        let len = self.values.len();
        self.optimizer_state.resize_with(plan.optimizer.state_vectors(), || vec![0.0; len]);
        self.begin_measuring(plan);
    }

    /// Counts an update, which must be the next one of its shard, and is applied with this weight.
    fn count(&mut self, update: &Update<'_>, weight: Weight) -> Result<()> {
        let meta = &mut self.meta;
        let UpdateId { shard, position, .. } = update.id;
        match meta.marks.get_mut(shard as usize) {
            Some(mark) if mark.batches == position => {
                mark.batches += update.batches;
                mark.examples += update.examples;
                mark.loss += update.loss;
            }
            _ => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("the update of shard {shard} at batch {position} is not the next one"),
                ));
            }
        }
        let staleness = meta.version.saturating_sub(update.version);
        meta.staleness += staleness;
        meta.staleness_max = meta.staleness_max.max(staleness);
        meta.noise.count(update, weight);
        Ok(())
    }

    /// Applies an update.
    pub(super) fn apply(
        &mut self,
        plan: &EpochPlan,
        at: Place,
        update: &Update<'_>,
        piece: Piece<'_>,
        scratch: &mut Vec<f32>,
    ) -> Result<()> {
        let scale = update::check(plan, update.gradient.dim(), update)?;
        let weight = self.weight(plan, update);
        self.count(update, weight)?;
        self.meta.version += 1;
        let step = update::step(plan, scale, weight.step);
        match piece {
            Piece::Dense(gradient) => self.step(&step, gradient),
            Piece::Sparse(entries) if step.keeps_zeros() => {
                let (values, optimizer_state) = (&mut self.values, &mut self.optimizer_state);
                step.apply_entries(values, optimizer_state, at.start, entries);
            }
            // With other optimizers, zeros also change the optimizer state.
            Piece::Sparse(entries) => {
                scratch.clear();
                scratch.resize(self.values.len(), 0.0);
                for entry in entries {
                    scratch[entry.index as usize - at.start] = entry.value;
                }
                self.step(&step, scratch);
            }
        }
        self.measure(plan, at, &step, piece);
        Ok(())
    }

    /// Applies the mean of a round's updates, given in the order of their shards.
    pub(super) fn apply_round(
        &mut self,
        plan: &EpochPlan,
        at: Place,
        updates: &[(Update<'_>, Piece<'_>)],
        scratch: &mut Vec<f32>,
    ) -> Result<()> {
        let examples = updates.iter().map(|(update, _)| update.examples).sum();
        let mut clipped = Vec::with_capacity(updates.len());
        for (update, piece) in updates {
            let scale = update::check(plan, update.gradient.dim(), update)?;
            self.count(update, Weight::FULL)?;
            clipped.push((update.examples, scale, *piece));
        }
        self.meta.version += 1;
        scratch.resize(self.values.len(), 0.0);
        let weighted =
            clipped.iter().map(|&(of, scale, piece)| (update::weight(scale, of, examples), piece));
        update::sum_up(scratch, at.start, weighted);
        let step = update::step(plan, 1.0, 1.0);
        self.step(&step, scratch);
        self.measure_round(plan, at, &step, &clipped);
        Ok(())
    }

    fn step(&mut self, step: &Step, gradient: &[f32]) {
        step.apply(self.meta.version, &mut self.values, &mut self.optimizer_state, gradient);
    }

    /// Applies fetched updates in this order. Under bulk mode they must form a round.
    pub(super) fn apply_fetched(
        &mut self,
        plan: &EpochPlan,
        (cuts, part): (Cuts, usize),
        fetched: &[(UpdateId, FetchedUpdate)],
    ) -> Result<()> {
        let at =
            Place { sample: Sample::in_parts(cuts.dim, cuts.parts), start: cuts.range(part).start };
        let mut scratch = Vec::new();
        if plan.sync_mode.merges_rounds() {
            let mut decoders = vec![Decoder::new(); fetched.len()];
            let updates = decoders
                .iter_mut()
                .zip(fetched)
                .map(|(decoder, (id, bytes))| payload::decode(decoder, bytes, *id, cuts, part))
                .collect::<Result<Vec<_>>>()?;
            return self.apply_round(plan, at, &updates, &mut scratch);
        }
        let mut decoder = Decoder::new();
        for (id, bytes) in fetched {
            let (update, piece) = payload::decode(&mut decoder, bytes, *id, cuts, part)?;
            self.apply(plan, at, &update, piece, &mut scratch)?;
        }
        Ok(())
    }
}
