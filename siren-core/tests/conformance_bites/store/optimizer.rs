//! The optimizers, entry by entry.

use siren_core::{EpochPlan, Gradient, Optimizer, Snapshot, Update};

use super::Fault;

/// Applies an update to the parameters.
pub(crate) fn apply(
    plan: &EpochPlan,
    state: &mut Snapshot,
    update: &Update<'_>,
    has: impl Fn(Fault) -> bool,
) {
    let gradient = clipped(plan, update, &has);
    let clipped =
        EpochPlan { weight_decay: plan.weight_decay * scale(plan, update, &has), ..plan.clone() };
    let plan = if has(Fault::DecayIsClipped) { &clipped } else { plan };
    match update.gradient {
        // The fault of a store that treats sparse updates with another algorithm.
        Gradient::Sparse(sparse) if has(Fault::SparseLeavesTheOthersAlone) => {
            let before = state.clone();
            descend(plan, state, &gradient, &has);
            let touched = |i| sparse.entries().iter().any(|entry| entry.index as usize == i);
            for i in (0..gradient.len()).filter(|&i| !touched(i)) {
                state.values[i] = before.values[i];
                for (slot, before) in state.optimizer_state.iter_mut().zip(&before.optimizer_state)
                {
                    slot[i] = before[i];
                }
            }
        }
        _ => descend(plan, state, &gradient, &has),
    }
}

/// The factor by which clipping scales a gradient.
fn scale(plan: &EpochPlan, update: &Update<'_>, has: impl Fn(Fault) -> bool) -> f32 {
    let batches = match has(Fault::ClipForgetsTheBatches) {
        true => 1.0,
        false => update.batches as f64,
    };
    let norm = update.squared_norm.sqrt();
    let clips = !plan.compression.clips_in_worker() || has(Fault::ClipsTopK);
    plan.clip_norm.filter(|_| clips).map_or(1.0, |limit| {
        let scale = f64::from(limit) * batches / norm;
        let scale_up = has(Fault::ClipScalesUp);
        if scale < 1.0 || scale_up { scale as f32 } else { 1.0 }
    })
}

/// All entries of an update's gradient, clipped.
pub(crate) fn clipped(
    plan: &EpochPlan,
    update: &Update<'_>,
    has: impl Fn(Fault) -> bool,
) -> Vec<f32> {
    let scale = scale(plan, update, &has);
    match update.gradient {
        Gradient::Dense(values) => values.iter().map(|g| scale * g).collect(),
        Gradient::Sparse(sparse) => {
            let mut gradient = vec![0.0; sparse.dim()];
            let mut entries = sparse.entries();
            if has(Fault::SparseLosesItsLastEntry) {
                entries = &entries[..entries.len().saturating_sub(1)];
            }
            for entry in entries {
                gradient[entry.index as usize] = scale * entry.value;
            }
            gradient
        }
    }
}

/// Applies a clipped gradient.
pub(crate) fn descend(
    plan: &EpochPlan,
    state: &mut Snapshot,
    gradient: &[f32],
    has: impl Fn(Fault) -> bool,
) {
    let dim = state.values.len();
    state.optimizer_state.resize(plan.optimizer.state_vectors(), vec![0.0; dim]);
    let t = match has(Fault::AdamForgetsItsAge) {
        true => 1,
        false => state.version as i32 + 1,
    };
    for (i, (p, &clipped)) in state.values.iter_mut().zip(gradient).enumerate() {
        let (mut clipped, mut g) = (clipped, clipped + plan.weight_decay * *p);
        if has(Fault::TheLastEntryIsLeftOut) && i == dim - 1 {
            (clipped, g) = (0.0, 0.0);
        }
        match plan.optimizer {
            Optimizer::Sgd => *p -= plan.learning_rate * g,
            Optimizer::Momentum { momentum } => {
                let v = &mut state.optimizer_state[0][i];
                *v = match has(Fault::MomentumIsDampened) {
                    true => momentum * *v + (1.0 - momentum) * g,
                    false => momentum * *v + g,
                };
                *p -= plan.learning_rate * *v;
            }
            Optimizer::Nesterov { momentum } => {
                let v = &mut state.optimizer_state[0][i];
                *v = momentum * *v + g;
                *p -= match has(Fault::NesterovIsAHeavyBall) {
                    true => plan.learning_rate * *v,
                    false => plan.learning_rate * (g + momentum * *v),
                };
            }
            Optimizer::Adagrad { initial, epsilon } => {
                let sum = &mut state.optimizer_state[0][i];
                *sum = match has(Fault::AdagradForgetsOldSquares) {
                    true => 0.9 * *sum + 0.1 * g * g,
                    false => *sum + g * g,
                };
                let initial = match has(Fault::AdagradForgetsTheInitialSum) {
                    true => 0.0,
                    false => initial,
                };
                *p -= plan.learning_rate * g / ((*sum + initial).sqrt() + epsilon);
            }
            Optimizer::Adam { beta1, beta2, epsilon } => {
                let constants = [beta1, beta2, epsilon];
                let step = adam(constants, t, &mut state.optimizer_state, i, g);
                *p -= (f64::from(plan.learning_rate) * step) as f32;
            }
            Optimizer::AdamW { beta1, beta2, epsilon } => {
                let couples = has(Fault::AdamWAddsDecayToTheGradient);
                let g = if couples { g } else { clipped };
                let decay = if couples { 0.0 } else { plan.weight_decay };
                let constants = [beta1, beta2, epsilon];
                let step = adam(constants, t, &mut state.optimizer_state, i, g);
                let (rate, shrunk) = (f64::from(plan.learning_rate), f64::from(decay * *p));
                *p -= match has(Fault::AdamWDecaysWithoutTheRate) {
                    true => (rate * step + shrunk) as f32,
                    false => (rate * (step + shrunk)) as f32,
                };
            }
        }
    }
}

/// Adam's step of entry `i` at a learning rate of one.
fn adam(constants: [f32; 3], t: i32, moments: &mut [Vec<f32>], i: usize, g: f32) -> f64 {
    let [first, second] = moments else { unreachable!("Adam has two moments") };
    let (m, v) = (&mut first[i], &mut second[i]);
    let [beta1, beta2, epsilon] = constants;
    *m = beta1 * *m + (1.0 - beta1) * g;
    *v = beta2 * *v + (1.0 - beta2) * g * g;
    let m = f64::from(*m) / (1.0 - f64::from(beta1).powi(t));
    let v = f64::from(*v) / (1.0 - f64::from(beta2).powi(t));
    m / (v.sqrt() + f64::from(epsilon))
}
