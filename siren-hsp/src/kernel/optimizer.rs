//! Optimizers.

use pulp::Arch;
use siren_core::{Entry, Optimizer};

/// The settings of one update.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The learning rate. The whole change of the parameters is proportional to it, decoupled
    /// weight decay included.
    pub rate: f32,
    /// The factor of the gradient: below one when it is clipped.
    pub scale: f32,
    /// Weight decay.
    pub decay: f32,
}

impl Step {
    /// Applies the `count`-th update, counted from 1, to a range of the parameters, in one pass.
    /// `optimizer_state` contains the optimizer's vectors for that range.
    ///
    /// # Panics
    ///
    /// When `optimizer_state` has too few vectors, or lengths differ.
    pub fn apply<S: AsMut<[f32]>>(
        &self,
        count: u64,
        values: &mut [f32],
        optimizer_state: &mut [S],
        gradient: &[f32],
    ) {
        self.apply_on(Arch::new(), count, values, optimizer_state, gradient);
    }

    /// As [`apply`](Self::apply), with a given instruction set.
    pub(super) fn apply_on<S: AsMut<[f32]>>(
        &self,
        arch: Arch,
        count: u64,
        values: &mut [f32],
        optimizer_state: &mut [S],
        gradient: &[f32],
    ) {
        assert_eq!(values.len(), gradient.len(), "one entry of the gradient for each parameter");
        let mut optimizer_state = optimizer_state.iter_mut().map(|slot| {
            let slot = slot.as_mut();
            assert_eq!(slot.len(), values.len(), "one state entry for each parameter");
            slot
        });
        let mut slot = || optimizer_state.next().expect("enough state vectors for the optimizer");
        // Plain gradients have separate loops: multiplications without effect cost up to a tenth of
        // the time, although memory is the bottleneck.
        let is_plain = self.is_plain();
        // Once in 16 updates suffices, and costs no measurable time.
        let fades = count.is_multiple_of(16);
        match self.optimizer {
            Optimizer::Sgd if is_plain => arch.dispatch(|| self.sgd::<true>(values, gradient)),
            Optimizer::Sgd => arch.dispatch(|| self.sgd::<false>(values, gradient)),
            Optimizer::Momentum { momentum } => {
                let velocity = slot();
                if is_plain {
                    arch.dispatch(|| self.momentum::<true>(momentum, values, velocity, gradient));
                } else {
                    arch.dispatch(|| self.momentum::<false>(momentum, values, velocity, gradient));
                }
                if fades {
                    arch.dispatch(|| fade(velocity));
                }
            }
            Optimizer::Nesterov { momentum } => {
                let velocity = slot();
                if is_plain {
                    arch.dispatch(|| self.nesterov::<true>(momentum, values, velocity, gradient));
                } else {
                    arch.dispatch(|| self.nesterov::<false>(momentum, values, velocity, gradient));
                }
                if fades {
                    arch.dispatch(|| fade(velocity));
                }
            }
            // A sum of squares does not fade.
            Optimizer::Adagrad { initial, epsilon } => {
                let (sums, constants) = (slot(), (initial, epsilon));
                if is_plain {
                    arch.dispatch(|| self.adagrad::<true>(constants, values, sums, gradient));
                } else {
                    arch.dispatch(|| self.adagrad::<false>(constants, values, sums, gradient));
                }
            }
            Optimizer::Adam { beta1, beta2, epsilon } => {
                let (first, second) = (slot(), slot());
                let adam = Adam::new(beta1, beta2, epsilon, self.rate, count);
                if is_plain {
                    arch.dispatch(|| self.adam::<true>(adam, values, first, second, gradient));
                } else {
                    arch.dispatch(|| self.adam::<false>(adam, values, first, second, gradient));
                }
                if fades {
                    arch.dispatch(|| fade(first));
                }
            }
            Optimizer::AdamW { beta1, beta2, epsilon } => {
                let (first, second) = (slot(), slot());
                let adam = Adam::new(beta1, beta2, epsilon, self.rate, count);
                if is_plain {
                    // Without decay both have the same formula.
                    arch.dispatch(|| self.adam::<true>(adam, values, first, second, gradient));
                } else {
                    arch.dispatch(|| self.adam_w(adam, values, first, second, gradient));
                }
                if fades {
                    arch.dispatch(|| fade(first));
                }
            }
        }
    }

    /// `true` if clipping and weight decay change nothing.
    fn is_plain(&self) -> bool {
        self.scale == 1.0 && self.decay == 0.0
    }

    /// The gradient after clipping and weight decay.
    #[inline(always)]
    fn gradient<const PLAIN: bool>(&self, gradient: f32, value: f32) -> f32 {
        if PLAIN { gradient } else { self.scale * gradient + self.decay * value }
    }

    /// `p -= rate * g`.
    #[inline(always)]
    fn sgd<const PLAIN: bool>(&self, values: &mut [f32], gradient: &[f32]) {
        for (p, &g) in values.iter_mut().zip(gradient) {
            *p -= self.rate * self.gradient::<PLAIN>(g, *p);
        }
    }

    /// `v = momentum * v + g; p -= rate * v`.
    #[inline(always)]
    fn momentum<const PLAIN: bool>(
        &self,
        momentum: f32,
        values: &mut [f32],
        velocity: &mut [f32],
        gradient: &[f32],
    ) {
        for ((p, v), &g) in values.iter_mut().zip(velocity).zip(gradient) {
            *v = momentum * *v + self.gradient::<PLAIN>(g, *p);
            *p -= self.rate * *v;
        }
    }

    /// `v = momentum * v + g; p -= rate * (g + momentum * v)`.
    #[inline(always)]
    fn nesterov<const PLAIN: bool>(
        &self,
        momentum: f32,
        values: &mut [f32],
        velocity: &mut [f32],
        gradient: &[f32],
    ) {
        for ((p, v), &g) in values.iter_mut().zip(velocity).zip(gradient) {
            let g = self.gradient::<PLAIN>(g, *p);
            *v = momentum * *v + g;
            *p -= self.rate * (g + momentum * *v);
        }
    }

    /// See [`adagrad_entry`](Self::adagrad_entry).
    #[inline(always)]
    fn adagrad<const PLAIN: bool>(
        &self,
        constants: (f32, f32),
        values: &mut [f32],
        sums: &mut [f32],
        gradient: &[f32],
    ) {
        for ((p, sum), &g) in values.iter_mut().zip(sums).zip(gradient) {
            self.adagrad_entry::<PLAIN>(constants, p, sum, g);
        }
    }

    /// `s += g * g; p -= rate * g / (sqrt(s + initial) + epsilon)`.
    #[inline(always)]
    fn adagrad_entry<const PLAIN: bool>(
        &self,
        (initial, epsilon): (f32, f32),
        p: &mut f32,
        sum: &mut f32,
        gradient: f32,
    ) {
        let g = self.gradient::<PLAIN>(gradient, *p);
        *sum += g * g;
        *p -= self.rate * g / ((*sum + initial).sqrt() + epsilon);
    }

    /// See [`Adam`].
    #[inline(always)]
    fn adam<const PLAIN: bool>(
        &self,
        adam: Adam,
        values: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
    ) {
        let moments = first.iter_mut().zip(second);
        for ((p, (m, v)), &g) in values.iter_mut().zip(moments).zip(gradient) {
            *p -= adam.step(m, v, self.gradient::<PLAIN>(g, *p));
        }
    }

    /// Adam of the gradient without weight decay, which the parameters have apart from it. Both
    /// parts of the step are computed from the value before the update.
    #[inline(always)]
    fn adam_w(
        &self,
        adam: Adam,
        values: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
    ) {
        let shrink = self.rate * self.decay;
        let moments = first.iter_mut().zip(second);
        for ((p, (m, v)), &g) in values.iter_mut().zip(moments).zip(gradient) {
            *p -= adam.step(m, v, self.scale * g) + shrink * *p;
        }
    }

    /// Applies a sparse update by a step that [keeps zeros](Self::keeps_zeros), entry by entry: the
    /// same bits as [`apply`](Self::apply) with zeros in all other places. `start` is the index of
    /// the first parameter.
    ///
    /// # Panics
    ///
    /// When the step does not keep zeros, when `optimizer_state` has too few vectors, or when an
    /// entry is outside of the range.
    pub(crate) fn apply_entries<S: AsMut<[f32]>>(
        &self,
        values: &mut [f32],
        optimizer_state: &mut [S],
        start: usize,
        entries: &[Entry],
    ) {
        assert!(self.keeps_zeros(), "zeros matter to {:?}", self.optimizer);
        match self.optimizer {
            Optimizer::Sgd => {
                for entry in entries {
                    values[entry.index as usize - start] -= self.descent(entry.value);
                }
            }
            Optimizer::Adagrad { initial, epsilon } => {
                let sums = optimizer_state[0].as_mut();
                let (constants, is_plain) = ((initial, epsilon), self.is_plain());
                for entry in entries {
                    let at = entry.index as usize - start;
                    let (p, sum) = (&mut values[at], &mut sums[at]);
                    if is_plain {
                        self.adagrad_entry::<true>(constants, p, sum, entry.value);
                    } else {
                        self.adagrad_entry::<false>(constants, p, sum, entry.value);
                    }
                }
            }
            Optimizer::Momentum { .. }
            | Optimizer::Nesterov { .. }
            | Optimizer::Adam { .. }
            | Optimizer::AdamW { .. } => unreachable!("checked above"),
        }
    }

    /// The value that plain SGD without decay subtracts from a parameter: the same bits as in
    /// [`apply`](Self::apply).
    #[inline(always)]
    pub(crate) fn descent(&self, gradient: f32) -> f32 {
        self.rate * (self.scale * gradient)
    }

    /// `true` if entries only subtract their [`descent`](Self::descent), which depends neither on
    /// the parameters nor on the optimizer's state. It can then be subtracted later.
    pub(crate) fn only_descends(&self) -> bool {
        self.keeps_zeros() && self.optimizer.state_vectors() == 0
    }

    /// `true` if the step leaves parameters with zero gradient, and their optimizer state,
    /// unchanged.
    pub(crate) fn keeps_zeros(&self) -> bool {
        let only_gradients_count = match self.optimizer {
            Optimizer::Sgd | Optimizer::Adagrad { .. } => true,
            // Velocities and moments move on.
            Optimizer::Momentum { .. }
            | Optimizer::Nesterov { .. }
            | Optimizer::Adam { .. }
            | Optimizer::AdamW { .. } => false,
        };
        only_gradients_count && self.decay == 0.0
    }
}

/// Sets entries of a velocity or first moment to zero once they are too small to change a
/// parameter. Without this, an entry that gets no more gradients becomes subnormal and stays so,
/// because rounding keeps it from reaching zero. Arithmetic on subnormal numbers takes a hundred
/// times as long.
#[inline(always)]
fn fade(slot: &mut [f32]) {
    for x in slot {
        *x = if x.abs() < 1e-30 { 0.0 } else { *x };
    }
}

/// Clipping by norm (Pascanu, Mikolov, Bengio, 2013): the factor for a gradient of `batches`
/// batches, `min(1, batches * limit / norm)`.
pub fn clip_scale(limit: Option<f32>, batches: u64, squared_norm: f64) -> f32 {
    // The sum of an empty list may be -0.
    let norm = squared_norm.sqrt().abs();
    match limit {
        Some(limit) => (f64::from(limit) * batches as f64 / norm).min(1.0) as f32,
        None => 1.0,
    }
}

/// Adam's constants at one count of updates: `p -= rate / (1 - beta1^t) * m / (sqrt(v / (1 -
/// beta2^t)) + epsilon)` (Kingma, Ba, "Adam", 2015).
#[derive(Clone, Copy)]
pub(super) struct Adam {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    rate: f32,
    pub(super) root: f32,
}

impl Adam {
    pub(super) fn new(beta1: f32, beta2: f32, epsilon: f32, rate: f32, count: u64) -> Self {
        let power = |beta: f32| f64::from(beta).powf(count as f64);
        Self {
            beta1,
            beta2,
            epsilon,
            rate: (f64::from(rate) / (1.0 - power(beta1))) as f32,
            root: (1.0 / (1.0 - power(beta2))).sqrt() as f32,
        }
    }

    /// Updates the moments of an entry, and returns the value to subtract from its parameter.
    #[inline(always)]
    fn step(&self, m: &mut f32, v: &mut f32, g: f32) -> f32 {
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        *v = self.beta2 * *v + (1.0 - self.beta2) * (g * g);
        self.rate * *m / (v.sqrt() * self.root + self.epsilon)
    }
}
