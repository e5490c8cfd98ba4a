//! Sums that measure a model and can be merged.

/// Bins of the score histogram behind [`Metrics::auc`].
const BINS: usize = 1_000;

/// What an evaluation adds up: losses, right answers, scores of a binary classifier. Metrics of
/// parts of a data set [merge](Metrics::merge) into those of the whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    examples: u64,
    loss: f64,
    judged: u64,
    correct: u64,
    scores: Option<Box<Scores>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Scores {
    negatives: [u64; BINS],
    positives: [u64; BINS],
}

impl Metrics {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `examples` examples whose losses sum to `loss`.
    pub fn add_loss(&mut self, examples: u64, loss: f64) {
        self.examples += examples;
        self.loss += loss;
    }

    /// Adds `judged` answers of which `correct` are right.
    pub fn add_answers(&mut self, judged: u64, correct: u64) {
        self.judged += judged;
        self.correct += correct;
    }

    /// Adds one example's predicted probability of being positive. Probabilities are kept in a
    /// histogram of 1,000 equal bins, so that metrics can be merged; one outside 0..=1 counts in the
    /// nearest bin, and NaN in the lowest.
    pub fn add_score(&mut self, probability: f32, positive: bool) {
        let scores = self
            .scores
            .get_or_insert_with(|| Box::new(Scores { negatives: [0; BINS], positives: [0; BINS] }));
        // A cast from float saturates, and takes NaN to zero.
        let bin = ((f64::from(probability) * BINS as f64) as usize).min(BINS - 1);
        if positive {
            scores.positives[bin] += 1;
        } else {
            scores.negatives[bin] += 1;
        }
    }

    /// Adds everything that `other` measured.
    pub fn merge(&mut self, other: &Self) {
        self.examples += other.examples;
        self.loss += other.loss;
        self.judged += other.judged;
        self.correct += other.correct;
        if let Some(theirs) = &other.scores {
            match &mut self.scores {
                None => self.scores = Some(theirs.clone()),
                Some(ours) => {
                    for bin in 0..BINS {
                        ours.negatives[bin] += theirs.negatives[bin];
                        ours.positives[bin] += theirs.positives[bin];
                    }
                }
            }
        }
    }

    /// The number of examples measured.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// The mean loss; NaN when nothing was measured.
    pub fn loss(&self) -> f64 {
        self.loss / self.examples as f64
    }

    /// The share of right answers, if any were judged.
    pub fn accuracy(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.correct as f64 / self.judged as f64)
    }

    /// The area under the ROC curve: the probability that a positive scores above a negative, ties
    /// within a bin counting half (Mann-Whitney). Nothing unless both classes have scores.
    pub fn auc(&self) -> Option<f64> {
        let scores = self.scores.as_ref()?;
        let (mut below, mut wins) = (0_u64, 0.0);
        for (&negatives, &positives) in scores.negatives.iter().zip(&scores.positives) {
            wins += positives as f64 * (below as f64 + negatives as f64 / 2.0);
            below += negatives;
        }
        let positives: u64 = scores.positives.iter().sum();
        let pairs = positives as f64 * below as f64;
        (pairs > 0.0).then(|| wins / pairs)
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
            }
        }
        let mut merged = Metrics::new();
        merged.merge(&parts[0]);
        merged.merge(&parts[1]);
        assert_eq!(merged, whole);
        assert_eq!(merged.loss(), 49.5);
        assert_eq!(merged.accuracy(), Some(0.34));
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
}
