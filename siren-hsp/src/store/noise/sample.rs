//! The entries of the parameters that noise is measured on.

use std::ops::Range;

/// Up to this number of parameters, all are measured.
const ALL: usize = 65_536;

/// The number of runs that a sample has at least.
const RUNS: usize = 256;

/// The largest distance between the starts of two runs: the largest block of the store in memory,
/// so that a sparse update need not be searched for its next run.
const MAX_GROUP: usize = 65_536;

/// The largest length of a run: long runs add little, and cost time in large models.
const MAX_RUN: usize = 512;

/// A fixed sample of the parameters' indices: all of a small model, otherwise at least 128 runs at
/// equal distances, of one entry in 16 or fewer. So each layer with more than a hundredth of the
/// parameters is in it, and a dense update is read in whole cache lines. The sums of noise and
/// signal over a sample have the ratio of those over all entries, up to its chance.
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
        let group = (dim / RUNS).next_power_of_two().min(MAX_GROUP);
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
