//! Fitting the loss curve.

use super::robust::{fit_near_prior, median_of};
use crate::history::RunHistory;
use crate::model::{Dynamics, JobModel, Loss};

/// If numbers of functions differ by less than this factor, they show nothing about staleness.
const VARIED: f64 = 1.25;

/// An epoch's functions, its share of the batches, and the loss after it.
struct Step {
    functions: f64,
    share: f64,
    loss: f64,
}

/// Fits the loss curve, and the progress lost with more functions.
///
/// The unknowns are the logarithms of b0, of the excess loss at the start, of the distance from b2
/// to the lowest loss, and of one over the number of functions that halves progress.
pub(super) fn fit(model: &mut JobModel, history: &RunHistory) {
    let runs: Vec<(Option<f64>, Vec<Step>)> = history
        .runs
        .iter()
        .map(|run| {
            let batches = run.epochs.iter().map(|epoch| epoch.batches).max().unwrap_or(0);
            let steps = run.epochs.iter().map(|epoch| Step {
                functions: epoch.workers.into(),
                share: match epoch.complete || batches == 0 {
                    true => 1.0,
                    false => epoch.batches as f64 / batches as f64,
                },
                loss: epoch.evaluation.loss,
            });
            (run.initial.filter(|initial| initial.is_finite()), steps.collect())
        })
        .collect();
    let steps = || runs.iter().flat_map(|(_, steps)| steps);
    let losses =
        || runs.iter().flat_map(|(at, s)| at.iter().copied().chain(s.iter().map(|s| s.loss)));
    let lowest = losses().fold(f64::INFINITY, f64::min);
    let highest = losses().fold(f64::NEG_INFINITY, f64::max);
    let range = (highest - lowest).max(1e-3 * highest.abs()).max(1e-9);
    let most = steps().map(|step| step.functions).fold(0.0, f64::max);
    let fewest = steps().map(|step| step.functions).fold(f64::INFINITY, f64::min);
    let varied = most >= VARIED * fewest;

    let (fall, target) = (model.staleness.fall, model.target_loss);
    let stale = 1.0 / model.staleness.workers;
    // The remaining fall of the loss: the prior's, or a third of the fall so far.
    let below = match lowest - model.loss.b2 {
        below if below > 0.0 && below < 10.0 * range => below,
        _ => range / 3.0,
    };
    let initial = runs.iter().find_map(|(initial, _)| *initial).unwrap_or(highest);
    let excess = (initial - lowest).max(0.1 * range) + below;
    // With this b0, the whole fall takes as many epochs as it took.
    let length = runs.iter().map(|(_, steps)| steps.len()).max().unwrap_or(1).max(1) as f64;
    let speed = 1.0 / (1.0 + stale * (most * fewest).sqrt());
    let b0 = ((1.0 / below - 1.0 / excess) / (length * speed)).max(1e-6 / excess);

    let curve = |x: &[f64; 4]| {
        let [b0, excess, below, _] = x.map(f64::exp);
        Loss { b0, b1: 1.0 / excess, b2: lowest - below }
    };
    let errors = |x: &[f64; 4], stale: f64, into: &mut Vec<f64>| {
        let Loss { b0, b1, b2 } = curve(x);
        let error = |progress: f64, loss: f64| {
            (1.0 / (b0 * progress + b1) + b2 - loss) / loss.abs().max(0.05 * range)
        };
        for (initial, steps) in &runs {
            let mut progress = 0.0;
            // The first loss has half the weight: in the first epoch, the loss falls further than
            // such a curve.
            into.extend(initial.map(|initial| 0.5 * error(0.0, initial)));
            for step in steps {
                let slower = stale * (1.0 + progress * b0 / b1).powf(fall);
                progress += step.share / (1.0 + step.functions * slower);
                into.push(error(progress, step.loss));
            }
        }
        // A target is meant to be reached, unless the losses clearly show a higher limit.
        into.push(0.1 * ((b2 - target) / range + 0.05).max(0.0));
    };
    let wide = [4.0, 1.0, 1.5];
    let start = [b0.ln(), excess.ln(), below.ln()];
    let with = |stale: f64, deviation: f64| {
        let start = [start[0], start[1], start[2], stale.max(1e-9).ln()];
        let fixed = deviation == 0.0;
        let deviations = [wide[0], wide[1], wide[2], if fixed { 1.0 } else { deviation }];
        let kept = |x: &[f64; 4]| if fixed { stale } else { x[3].exp() };
        let found = fit_near_prior(start, deviations, |x, into| errors(x, kept(x), into));
        let mut left = Vec::new();
        errors(&found, kept(&found), &mut left);
        let sum: f64 = left.iter().map(|error| error * error).sum();
        (curve(&found), kept(&found), sum, left.len())
    };
    let mut best = with(stale, 0.0);
    if varied {
        let guess = if stale > 0.0 { stale } else { 0.3 / most };
        let free = with(guess, 1.5);
        // An additional unknown has to improve the fit enough (Akaike, 1974).
        let gain = (best.2 / free.2.max(f64::MIN_POSITIVE)).ln() * free.3 as f64;
        if stale > 0.0 || gain > 2.0 {
            best = free;
        }
    }
    let (loss, stale, ..) = best;
    model.loss = loss;
    model.staleness.workers = if stale * most < 1e-3 { f64::INFINITY } else { 1.0 / stale };
    noise(model, &runs);
}

/// Fits the deviation of single epochs' progress from the curve.
fn noise(model: &mut JobModel, runs: &[(Option<f64>, Vec<Step>)]) {
    const ENOUGH: usize = 6;
    let Loss { b0, b1, .. } = model.loss;
    let mut deviations = Vec::new();
    for (initial, steps) in runs {
        let mut before = initial.map_or(0.0, |loss| model.progress_at(loss));
        for step in steps {
            let now = model.progress_at(step.loss);
            let fallen = (1.0 + before * b0 / b1).powf(model.staleness.fall);
            let expected = step.share / (1.0 + step.functions / model.staleness.workers * fallen);
            if now.is_finite() && now > before {
                deviations.push(((now - before) / expected).ln().abs());
            }
            before = now;
        }
    }
    if deviations.len() >= ENOUGH {
        let found = median_of(deviations.into_iter()).unwrap_or(0.0) / 0.6745;
        model.noise.progress = found.min(0.5);
    }
}
