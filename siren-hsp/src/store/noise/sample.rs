//! The entries of the parameters that noise is measured on.

use std::ops::Range;

/// Up to this number of parameters, all are measured.
const ALL: usize = 65_536;

/// The number of runs that a sample has at least.
const RUNS: usize = 256;

/// The smallest distance: a run of one cache line.
const MIN_GROUP: usize = 256;

/// The largest distance between the starts of two runs: the largest block of the store in memory.
/// The entries of a sparse update in a run are then the first ones of its block.
const MAX_GROUP: usize = 65_536;

/// The largest length of a run: long runs add little, and cost time in large models.
const MAX_RUN: usize = 512;

/// A fixed sample of the parameters' indices: all of a small model, otherwise at least 128 runs at
/// equal distances, of one entry in 16 or fewer. So each layer with more than a hundredth of the
/// parameters is in it, and a dense update is read in whole cache lines. The sums of noise and
/// signal over a sample have the ratio of those over all entries, up to sampling error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The distance between the starts of runs, a power of two.
    group: usize,
    /// The number of entries in a run, which begins its group.
    run: usize,
}

impl Sample {
    /// The sample of a model with `dim` parameters.
    pub(crate) fn new(dim: usize) -> Self {
        if dim <= ALL {
            return Self { group: ALL, run: ALL };
        }
        Self::of_groups((dim / RUNS).next_power_of_two().min(MAX_GROUP))
    }

    /// The sample of a model in parts of about equal length: each part has at least one whole run.
    pub(crate) fn in_parts(dim: usize, parts: usize) -> Self {
        let part = dim / parts.max(1);
        let whole = Self::new(dim);
        if part < 2 * MIN_GROUP {
            return Self { group: ALL, run: ALL };
        }
        // The largest power of two up to half a part.
        let fitting = 1 << (part / 2).ilog2();
        if whole.group <= fitting || whole.run == ALL { whole } else { Self::of_groups(fitting) }
    }

    fn of_groups(group: usize) -> Self {
        Self { group, run: (group / 16).min(MAX_RUN) }
    }

    /// The number of sampled entries below an index.
    fn rank(&self, index: usize) -> usize {
        index / self.group * self.run + (index % self.group).min(self.run)
    }

    /// The number of sampled entries in a range.
    pub(crate) fn len(&self, range: &Range<usize>) -> usize {
        self.rank(range.end) - self.rank(range.start)
    }

    /// The part of the run around or after `index` that lies in `range`; `None` if there is none.
    pub(crate) fn run_at(&self, index: usize, range: &Range<usize>) -> Option<Range<usize>> {
        let mut start = index - index % self.group;
        if index >= start + self.run {
            start += self.group;
        }
        let run = start.max(range.start)..(start + self.run).min(range.end);
        (run.start < run.end).then_some(run)
    }

    /// The sampled runs in a range.
    pub(crate) fn runs(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (sample, mut next) = (*self, range.start);
        std::iter::from_fn(move || {
            let run = sample.run_at(next, &range).filter(|_| next < range.end)?;
            next = run.end;
            Some(run)
        })
    }

    /// The place of a run of `range` among its sampled entries.
    pub(crate) fn place(&self, run: &Range<usize>, range: &Range<usize>) -> Range<usize> {
        let start = self.rank(run.start) - self.rank(range.start);
        start..start + run.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_all_of_a_small_model_and_runs_of_a_large_one() {
        for (dim, share) in
            [(1, 1.0), (65_536, 1.0), (65_537, 16.0), (431_080, 16.0), (10_000_000, 128.0)]
        {
            let sample = Sample::new(dim);
            let len = sample.len(&(0..dim));
            let expected = dim as f64 / share;
            assert!((len as f64 / expected - 1.0).abs() < 0.02, "{len} of {dim}");
            let runs: Vec<_> = sample.runs(0..dim).collect();
            assert!(share == 1.0 || runs.len() >= 128, "{} runs of {dim}", runs.len());
            assert_eq!(runs.iter().map(Range::len).sum::<usize>(), len);
        }
    }

    #[test]
    fn every_part_has_a_whole_run() {
        for (dim, parts) in [(100_000, 512), (100_000, 100), (1_000_000, 600), (553, 8)] {
            let sample = Sample::in_parts(dim, parts);
            for part in 0..parts {
                let range = part * dim / parts..(part + 1) * dim / parts;
                let least = 16.min(range.len());
                assert!(sample.runs(range).any(|run| run.len() >= least), "{dim} in {parts}");
            }
        }
        assert_eq!(Sample::in_parts(10_000_000, 4), Sample::new(10_000_000));
    }

    #[test]
    fn parts_have_together_the_sample_of_the_whole() {
        let dim = 300_000;
        let sample = Sample::new(dim);
        let whole: Vec<usize> = sample.runs(0..dim).flatten().collect();
        for cuts in [vec![0, 150_000, dim], vec![0, 7, 1_000, 1_001, 77_777, dim]] {
            let mut all = Vec::new();
            for cut in cuts.windows(2) {
                let range = cut[0]..cut[1];
                let mut place = 0;
                for run in sample.runs(range.clone()) {
                    assert_eq!(sample.place(&run, &range), place..place + run.len());
                    place += run.len();
                    all.extend(run);
                }
                assert_eq!(place, sample.len(&range));
            }
            assert_eq!(all, whole);
        }
    }
}
