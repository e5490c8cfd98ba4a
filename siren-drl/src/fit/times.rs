//! Fitting the times.

use super::robust::{fit_near_prior, median_of};
use super::sample::Sample;
use crate::model::{Chance, Dynamics, Epoch, JobModel};

/// The standard deviation of the logarithm of a roughly known value, and of an exponent.
const ROUGHLY: f64 = 2.0;
const EXPONENT: f64 = 0.5;
/// Guesses of MB a second for each vCPU and at most for a function, if neither is known. The amount
/// of data is then unknown as well, so only the ratio of the two matters.
const GUESSED_MB_S: (f64, f64) = (40.0, 80.0);
/// Values up to this count as 0.
const NOTHING: f64 = 1e-9;

/// Fits P^C, P^F, P^U, the time before them, and the wait at the barrier.
pub(super) fn fit(model: &mut JobModel, samples: &[Sample]) {
    let whole: Vec<Sample> = samples.iter().copied().filter(|sample| sample.whole).collect();
    if whole.is_empty() {
        return;
    }
    compute(model, &whole);
    fetch(model, &whole);
    update(model, &whole);
    starts(model, &whole);
    barrier(model, &whole);
}

/// The logarithms of the model's values over the measured values, and 0 if nothing was measured.
fn ratios(
    model: &JobModel,
    samples: &[Sample],
    into: &mut Vec<f64>,
    of: impl Fn(&Epoch, &Sample) -> (f64, f64),
) {
    into.extend(samples.iter().map(|sample| {
        let epoch = model.epoch(sample.at, sample.allocation, &Chance::EXPECTED);
        let (found, known) = of(&epoch, sample);
        if known > NOTHING { (found.max(NOTHING) / known).ln() } else { 0.0 }
    }));
}

fn compute(model: &mut JobModel, samples: &[Sample]) {
    let peak = samples.iter().filter_map(|sample| sample.memory_mb).fold(0.0, f64::max);
    if peak > 0.0 {
        model.compute.memory_mb = peak;
    }
    let limits = &model.platform.limits;
    let vcpus = |s: &Sample| f64::from(s.allocation.memory_mb) / limits.memory_per_vcpu_mb;
    let more = samples.iter().any(|sample| vcpus(sample) > 1.05);
    let firsts = samples.iter().filter(|sample| sample.at.epoch == 0).count();
    let first = firsts > 0 && firsts < samples.len();
    let total = median_of(
        samples.iter().map(|s| s.compute_s * f64::from(s.allocation.workers) * vcpus(s).min(1.0)),
    );
    let Some(total) = total.filter(|&total| total > NOTHING) else {
        model.compute.vcpu_seconds = 0.0;
        return;
    };
    let known = model.compute.vcpu_seconds > 0.0;
    let start = if known { model.compute.vcpu_seconds } else { total };
    let share = model.compute.parallel_share.clamp(0.02, 0.98);
    let prior = model.compute;
    let set = |model: &mut JobModel, x: &[f64; 4]| {
        model.compute.vcpu_seconds = x[0].exp();
        model.compute.fall = x[1];
        if more {
            model.compute.parallel_share = 1.0 / (1.0 + (-x[2]).exp());
        }
        if first {
            model.compute.first = (x[3].exp() - 1.0).max(0.0);
        }
    };
    let start = [start.ln(), prior.fall, (share / (1.0 - share)).ln(), (1.0 + prior.first).ln()];
    let deviations = [if known { ROUGHLY } else { 10.0 }, EXPONENT, 1.5, 1.0];
    let found = fit_near_prior(start, deviations, |x, into| {
        let mut model = model.clone();
        set(&mut model, x);
        ratios(&model, samples, into, |epoch, sample| (epoch.compute_s, sample.compute_s));
    });
    set(model, &found);
    if model.compute.parallel_share < 0.03 {
        model.compute.parallel_share = 0.0;
    }
    // Functions that queue show the number of places to compute.
    let places = median_of(
        samples
            .iter()
            .filter(|s| s.queue_s > 0.1 * s.compute_s)
            .map(|s| f64::from(s.allocation.workers) * s.compute_s / (s.compute_s + s.queue_s)),
    );
    if let Some(places) = places {
        model.compute.places = places;
    }
}

fn fetch(model: &mut JobModel, samples: &[Sample]) {
    let typical = median_of(samples.iter().map(|sample| sample.fetch_s)).unwrap_or(0.0);
    if typical <= NOTHING {
        model.start.seconds = model.start.seconds.min(typical);
        let fetch = &mut model.fetch;
        (fetch.latency_s, fetch.data_mb, fetch.model_mb, fetch.batch_s) = (0.0, 0.0, 0.0, 0.0);
        return;
    }
    let fetch = &mut model.fetch;
    let limited = fetch.per_vcpu_mb_s > 0.0 || fetch.function_mb_s > 0.0;
    if !limited {
        (fetch.per_vcpu_mb_s, fetch.function_mb_s) = GUESSED_MB_S;
    }
    let moves = fetch.data_mb > 0.0 || fetch.model_mb > 0.0;
    if !(fetch.latency_s > 0.0 && moves) && fetch.batch_s == 0.0 {
        // Half of the time is fixed for each function, and half is shared by the functions.
        fetch.latency_s = (typical / 2.0 - model.start.seconds).max(typical / 10.0);
        let megabytes = samples
            .iter()
            .map(|s| s.fetch_s / 2.0 * f64::from(s.allocation.workers) * mb_s(model, s));
        model.fetch.data_mb = median_of(megabytes).unwrap_or(0.0);
    }
    let (prior, seconds) = (model.fetch, model.start.seconds);
    let set = |model: &mut JobModel, x: &[f64; 3]| {
        let [own, shared, speed] = x.map(f64::exp);
        (model.start.seconds, model.fetch.latency_s) = (seconds * own, prior.latency_s * own);
        let fetch = &mut model.fetch;
        (fetch.data_mb, fetch.model_mb) = (prior.data_mb * shared, prior.model_mb * shared);
        fetch.batch_s = prior.batch_s * shared;
        fetch.batch_deviation_s = prior.batch_deviation_s * shared;
        if !limited {
            fetch.per_vcpu_mb_s = prior.per_vcpu_mb_s * speed;
        }
    };
    let found = fit_near_prior([0.0; 3], [ROUGHLY; 3], |x, into| {
        let mut model = model.clone();
        set(&mut model, x);
        ratios(&model, samples, into, |epoch, sample| (epoch.fetch_s, sample.fetch_s));
    });
    set(model, &found);
}

/// MB a second of one function, if there are few.
fn mb_s(model: &JobModel, sample: &Sample) -> f64 {
    let vcpus = f64::from(sample.allocation.memory_mb) / model.platform.limits.memory_per_vcpu_mb;
    let no_limit = |mb_s: f64| if mb_s == 0.0 { f64::INFINITY } else { mb_s };
    let fetch = &model.fetch;
    (no_limit(fetch.per_vcpu_mb_s) * vcpus).min(no_limit(fetch.function_mb_s))
}

fn update(model: &mut JobModel, samples: &[Sample]) {
    let functions = |sample: &Sample| f64::from(sample.allocation.workers);
    let counted = samples.iter().all(|sample| sample.rounds > 0.0);
    if model.update.rounds == 0.0 && model.update.shared_rounds == 0.0 {
        model.update.rounds = 1.0;
        if counted {
            let own = median_of(samples.iter().map(|s| s.rounds)).unwrap_or(1.0);
            let all = median_of(samples.iter().map(|s| s.rounds * functions(s))).unwrap_or(1.0);
            (model.update.rounds, model.update.shared_rounds) = (own / 2.0, all / 2.0);
        }
    }
    let typical = median_of(samples.iter().map(|sample| sample.update_s)).unwrap_or(0.0);
    let prior = model.update;
    let rounds = |model: &mut JobModel, x: &[f64; 3]| {
        model.update.rounds = prior.rounds * x[0].exp();
        model.update.shared_rounds = prior.shared_rounds * x[1].exp();
        model.update.growth = x[2];
    };
    if counted {
        let deviations = [ROUGHLY, ROUGHLY, EXPONENT];
        let found = fit_near_prior([0.0, 0.0, prior.growth], deviations, |x, into| {
            let mut model = model.clone();
            rounds(&mut model, x);
            into.extend(samples.iter().map(|sample| {
                let found = model.rounds(sample.allocation.workers, sample.at.progress);
                (found.max(NOTHING) / sample.rounds).ln()
            }));
        });
        rounds(model, &found);
    }
    if typical <= NOTHING {
        (model.update.latency_s, model.update.size_mb) = (0.0, 0.0);
        return;
    }
    if prior.latency_s == 0.0 && prior.size_mb == 0.0 {
        let each = |s: &Sample| {
            s.update_s / model.rounds(s.allocation.workers, s.at.progress).max(NOTHING)
        };
        let latency_s = median_of(samples.iter().map(each)).unwrap_or(0.0);
        let size_mb = median_of(samples.iter().map(|s| each(s) * mb_s(model, s))).unwrap_or(0.0);
        let part = if size_mb.is_finite() { 0.5 } else { 1.0 };
        model.update.latency_s = latency_s * part;
        model.update.size_mb = if size_mb.is_finite() { size_mb * part } else { 0.0 };
    }
    let (prior, grows) = (model.update, model.update.growth);
    let seconds = |model: &mut JobModel, x: &[f64; 3]| {
        model.update.latency_s = prior.latency_s * x[0].exp();
        model.update.size_mb = prior.size_mb * x[1].exp();
        if !counted {
            model.update.growth = x[2];
        }
    };
    let found = fit_near_prior([0.0, 0.0, grows], [ROUGHLY, ROUGHLY, EXPONENT], |x, into| {
        let mut model = model.clone();
        seconds(&mut model, x);
        ratios(&model, samples, into, |epoch, sample| (epoch.update_s, sample.update_s));
    });
    seconds(model, &found);
}

/// Fits the time before functions begin.
fn starts(model: &mut JobModel, samples: &[Sample]) {
    let changed = |sample: &Sample| {
        sample.at.memory_mb.is_some_and(|before| before != sample.allocation.memory_mb)
    };
    let each_s = model.start.each_s;
    let start = |sample: &Sample| {
        (sample.start_s() - each_s * f64::from(sample.allocation.workers)).max(0.0)
    };
    let usual = samples.iter().filter(|s| s.at.epoch > 0 && !changed(s)).map(start);
    if let Some(usual) = median_of(usual) {
        model.start.wait_s = usual;
    }
    let more = |start: f64| (start - model.start.wait_s).max(0.0);
    let firsts = samples.iter().filter(|sample| sample.at.epoch == 0).map(start);
    let (first, change) = (
        median_of(firsts).map(more),
        median_of(samples.iter().filter(|s| s.at.epoch > 0 && changed(s)).map(start)).map(more),
    );
    model.start.first_s = first.unwrap_or(model.start.first_s);
    model.start.change_s = change.unwrap_or(model.start.change_s);
}

/// Fits the spread of functions to the waits at the barrier.
fn barrier(model: &mut JobModel, samples: &[Sample]) {
    let waits: f64 = samples.iter().map(|s| s.wait_s + s.round_wait_s).sum();
    if waits > NOTHING {
        let rounds: f64 = samples.iter().map(|s| s.round_wait_s).sum();
        model.noise.billed = (rounds / waits).clamp(0.0, 1.0);
    }
    let (noise, late_s) = (model.noise, model.update.late_s);
    let known = noise.time > 0.0 || noise.update > 0.0 || late_s > 0.0;
    let start = [noise.time, noise.update, late_s].map(|x| x.max(1e-6).ln());
    let start = if known { start } else { [0.03_f64.ln(), start[1], start[2]] };
    let free = [noise.time > 0.0 || !known, noise.update > 0.0, late_s > 0.0];
    let set = |model: &mut JobModel, x: &[f64; 3]| {
        let [time, update, late] = std::array::from_fn(|i| if free[i] { x[i].exp() } else { 0.0 });
        (model.noise.time, model.noise.update, model.update.late_s) =
            (time.min(2.0), update.min(2.0), late);
    };
    let found = fit_near_prior(start, [1.5; 3], |x, into| {
        let mut model = model.clone();
        set(&mut model, x);
        ratios(&model, samples, into, |epoch, sample| (epoch.elapsed_s, sample.elapsed_s));
    });
    set(model, &found);
}
