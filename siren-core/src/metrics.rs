//! Sums that measure a model and can be merged.

use std::collections::BTreeMap;

use crate::Evaluation;

/// Bins of the score histogram behind [`Metrics::auc`].
const BINS: usize = 1_000;

/// The number of examples, and the sum of their losses.
const LOSS: &str = "loss";
/// The number of answers, and of those that are right.
const ANSWERS: &str = "answers";
/// The histogram of the negatives' scores, then that of the positives'.
const SCORES: &str = "scores";

/// Named vectors of sums over the examples of a data set. Metrics of parts of a data set
/// [merge](Metrics::merge) into those of the whole.
///
/// [`Workload::evaluate`](crate::Workload::evaluate) adds to these sums, and
/// [`Workload::finish`](crate::Workload::finish) turns them into an [`Evaluation`]. Counts are
/// exact up to 2^53.
///
/// ```
/// use siren_core::Metrics;
///
/// let mut metrics = Metrics::new();
/// // Three examples whose absolute errors sum to 0.6, then one with 0.2.
/// metrics.add("absolute error", &[3.0, 0.6]);
/// metrics.add("absolute error", &[1.0, 0.2]);
/// assert!((metrics.mean("absolute error").unwrap() - 0.2).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    sums: BTreeMap<String, Vec<f64>>,
}

impl Metrics {
    /// Metrics without any sums.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `sums` to the vector of this name, entry by entry. The first call creates the vector.
    /// The names `loss`, `answers` and `scores` belong to [`add_loss`](Self::add_loss),
    /// [`add_answers`](Self::add_answers) and [`add_score`](Self::add_score).
    ///
    /// # Panics
    ///
    /// If the vector of this name has another length.
    pub fn add(&mut self, name: &str, sums: &[f64]) {
        for (sum, term) in self.sums_mut(name, sums.len()).iter_mut().zip(sums) {
            *sum += term;
        }
    }

    /// The sums of this name, if any were added.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.sums.get(name).map(Vec::as_slice)
    }

    /// The mean of a quantity whose vector is [count, sum]. `None` if the count is 0.
    pub fn mean(&self, name: &str) -> Option<f64> {
        match *self.get(name)? {
            [count, sum] if count > 0.0 => Some(sum / count),
            _ => None,
        }
    }

    /// The vector of this name, which the first call creates with `length` zeros. Use it for
    /// vectors in which an example changes only a few entries, such as a histogram. Later calls do
    /// not allocate.
    ///
    /// # Panics
    ///
    /// If the vector of this name has another length.
    pub fn sums_mut(&mut self, name: &str, length: usize) -> &mut [f64] {
        if !self.sums.contains_key(name) {
            self.sums.insert(name.to_owned(), vec![0.0; length]);
        }
        let sums = self.sums.get_mut(name).map_or(&mut [][..], Vec::as_mut_slice);
        assert_eq!(
            sums.len(),
            length,
            "the metric {name:?} is a vector of {} sums, and {length} are added: always add as many",
            sums.len()
        );
        sums
    }

    /// Adds `examples` examples whose losses sum to `loss`.
    pub fn add_loss(&mut self, examples: u64, loss: f64) {
        self.add(LOSS, &[examples as f64, loss]);
    }

    /// Adds `judged` answers, `correct` of them right.
    pub fn add_answers(&mut self, judged: u64, correct: u64) {
        self.add(ANSWERS, &[judged as f64, correct as f64]);
    }

    /// Adds one example's predicted probability of being positive, and whether it is positive. The
    /// scores are kept in a histogram of 1,000 equal bins for each class, so that metrics can be
    /// merged. A probability outside 0..=1 counts in the nearest bin, and NaN in the lowest.
    pub fn add_score(&mut self, probability: f32, positive: bool) {
        // A cast from float saturates, and takes NaN to zero.
        let bin = ((f64::from(probability) * BINS as f64) as usize).min(BINS - 1);
        let class = if positive { BINS } else { 0 };
        self.sums_mut(SCORES, 2 * BINS)[class + bin] += 1.0;
    }

    /// Adds all sums of `other`.
    ///
    /// # Panics
    ///
    /// If a vector has another length in `other`.
    pub fn merge(&mut self, other: &Self) {
        for (name, sums) in &other.sums {
            self.add(name, sums);
        }
    }

    /// The number of measured examples.
    pub fn examples(&self) -> u64 {
        self.get(LOSS).map_or(0, |sums| sums[0] as u64)
    }

    /// The mean loss; NaN when nothing was measured.
    pub fn loss(&self) -> f64 {
        self.mean(LOSS).unwrap_or(f64::NAN)
    }

    /// The share of right answers, or `None` if no answers were added.
    pub fn accuracy(&self) -> Option<f64> {
        self.mean(ANSWERS)
    }

    /// The area under the ROC curve: the probability that a positive scores above a negative, ties
    /// within a bin counting half (Mann-Whitney). `None` unless both classes have scores.
    pub fn auc(&self) -> Option<f64> {
        let (negatives, positives) = self.get(SCORES)?.split_at(BINS);
        let (mut below, mut wins) = (0.0, 0.0);
        for (&negatives, &positives) in negatives.iter().zip(positives) {
            wins += positives * (below + negatives / 2.0);
            below += negatives;
        }
        let positives: f64 = positives.iter().sum();
        let pairs = positives * below;
        (pairs > 0.0).then(|| wins / pairs)
    }

    /// The mean loss and, if they were measured, `accuracy` and `auc`.
    pub fn evaluation(&self) -> Evaluation {
        Evaluation::new(self.loss())
            .with(Evaluation::ACCURACY, self.accuracy())
            .with(Evaluation::AUC, self.auc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_merge_into_the_whole() {
        let mut whole = Metrics::new();
        let mut parts = [Metrics::new(), Metrics::new()];
        for i in 0..100_u32 {
            for metrics in [&mut whole, &mut parts[(i % 2) as usize]] {
                metrics.add_loss(1, f64::from(i));
                metrics.add_answers(1, u64::from(i % 3 == 0));
                metrics.add_score(i as f32 / 100.0, i % 4 == 0);
                metrics.add("squares", &[1.0, f64::from(i * i)]);
            }
        }
        let mut merged = Metrics::new();
        merged.merge(&parts[0]);
        merged.merge(&parts[1]);
        assert_eq!(merged, whole);
        assert_eq!((merged.examples(), merged.loss()), (100, 49.5));
        assert_eq!(merged.accuracy(), Some(0.34));
        assert_eq!(merged.get("squares"), Some(&[100.0, 328_350.0][..]));
        assert_eq!(merged.mean("squares"), Some(3_283.5));
        assert_eq!(merged.get("cubes"), None);
    }

    #[test]
    fn auc_is_one_for_a_perfect_and_a_half_for_a_blind_classifier() {
        let (mut perfect, mut blind) = (Metrics::new(), Metrics::new());
        for i in 0..10 {
            perfect.add_score(if i < 3 { 0.9 } else { 0.1 }, i < 3);
            blind.add_score(0.5, i < 3);
        }
        assert_eq!(perfect.auc(), Some(1.0));
        assert_eq!(blind.auc(), Some(0.5));
        assert_eq!(Metrics::new().auc(), None);
    }

    #[test]
    fn an_evaluation_has_what_was_measured() {
        let mut metrics = Metrics::new();
        assert!(metrics.evaluation().loss.is_nan());
        metrics.add_loss(2, 3.0);
        assert_eq!(metrics.evaluation(), Evaluation::new(1.5));
        metrics.add_answers(4, 1);
        metrics.add_score(0.7, true);
        assert_eq!(metrics.evaluation(), Evaluation::new(1.5).with("accuracy", 0.25));
        metrics.add_score(0.1, false);
        let all = Evaluation::new(1.5).with("accuracy", 0.25).with("auc", 1.0);
        assert_eq!(metrics.evaluation(), all);
    }

    #[test]
    #[should_panic(expected = "\"errors\" is a vector of 2 sums, and 3 are added")]
    fn a_vector_does_not_change_its_length() {
        let mut metrics = Metrics::new();
        metrics.add("errors", &[1.0, 2.0]);
        metrics.add("errors", &[1.0, 2.0, 3.0]);
    }
}
