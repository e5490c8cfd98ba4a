//! The logistic loss of one example.

use siren_core::Metrics;

/// The loss of a score, and its slope.
#[derive(Clone, Copy)]
pub(crate) struct Judged {
    /// The log loss in nats.
    pub(crate) loss: f64,
    /// The slope of the loss along the score: the probability less the label.
    pub(crate) error: f64,
}

/// The loss of an example with this score.
pub(crate) fn judge(score: f32, positive: bool) -> Judged {
    let score = f64::from(score);
    let label = f64::from(u8::from(positive));
    // ln(1 + exp(z)) - y z, with one exponential that cannot overflow.
    let small = (-score.abs()).exp();
    let probability = if score < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
    let loss = score.max(0.0) - label * score + small.ln_1p();
    // A NaN score has a NaN loss; `max` above would hide it.
    Judged { loss: if score.is_nan() { score } else { loss }, error: probability - label }
}

/// Adds an example's answer and probability to `metrics`. The caller adds the loss.
pub(crate) fn measure(judged: Judged, positive: bool, metrics: &mut Metrics) {
    let probability = judged.error + f64::from(u8::from(positive));
    metrics.add_answers(1, u64::from((probability > 0.5) == positive));
    metrics.add_score(probability as f32, positive);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_scores_have_finite_losses() {
        for (score, positive, loss) in [
            (0.0, true, std::f64::consts::LN_2),
            (200.0, true, 0.0),
            (200.0, false, 200.0),
            (-1e30, true, f64::from(1e30_f32)),
            (-1e30, false, 0.0),
        ] {
            let judged = judge(score, positive);
            assert!((judged.loss - loss).abs() <= 1e-9 * loss.max(1.0), "{score}: {}", judged.loss);
            assert!(judged.error.abs() <= 1.0);
        }
        assert!(judge(f32::NAN, true).loss.is_nan());
    }
}
