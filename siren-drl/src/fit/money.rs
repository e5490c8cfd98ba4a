//! Fitting the costs.

use super::robust::fit_near_prior;
use super::sample::Sample;
use crate::model::{Chance, Dynamics, JobModel};

/// Fits the fees, and the cost of aggregators. The platform's prices are known, and the fees
/// roughly.
pub(super) fn fit(model: &mut JobModel, samples: &[Sample]) {
    let paid = |sample: &&Sample| sample.whole && sample.cost_usd > 0.0;
    let samples: Vec<&Sample> = samples.iter().filter(paid).collect();
    if samples.is_empty() {
        return;
    }
    let prior = model.fees;
    let set = |model: &mut JobModel, x: &[f64; 4]| {
        let [scale, call, update, epoch] = x.map(f64::exp);
        model.fees.scale = prior.scale * scale;
        model.fees.call_usd = prior.call_usd * call;
        model.fees.update_usd = prior.update_usd * update;
        model.fees.epoch_usd = prior.epoch_usd * epoch;
        model.fees.second_usd = 0.0;
    };
    let found = fit_near_prior([0.0; 4], [1.0, 2.0, 2.0, 2.0], |x, into| {
        let mut model = model.clone();
        set(&mut model, x);
        into.extend(samples.iter().map(|sample| {
            let epoch = model.epoch(sample.at, sample.allocation, &Chance::EXPECTED);
            (epoch.cost_usd.max(1e-300) / sample.cost_usd).ln()
        }));
    });
    set(model, &found);
    let beside: f64 = samples.iter().map(|sample| sample.beside_usd).sum();
    let elapsed: f64 = samples.iter().map(|sample| sample.elapsed_s).sum();
    model.fees.second_usd = beside / elapsed / model.fees.scale;
}
