//! Optimizers.

use pulp::Arch;
use siren_core::Optimizer;

/// The numbers of one update.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub rate: f32,
    /// What the gradient is multiplied by: below one when it is clipped.
    pub scale: f32,
    /// Weight decay.
    pub decay: f32,
}

impl Step {
    /// Applies the `count`-th update, counted from 1, to a range of the parameters, in one pass.
    /// `optimizer_state` are what the optimizer keeps of that range.
    ///
    /// # Panics
    ///
    /// When there are fewer slots than the optimizer has, or lengths differ.
    pub fn apply<S: AsMut<[f32]>>(
        &self,
        count: u64,
        values: &mut [f32],
        optimizer_state: &mut [S],
        gradient: &[f32],
    ) {
        self.apply_on(Arch::new(), count, values, optimizer_state, gradient);
    }

    /// As [`apply`](Self::apply), with the vectors of one instruction set.
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
            assert_eq!(slot.len(), values.len(), "one entry of a slot for each parameter");
            slot
        });
        let mut slot =
            || optimizer_state.next().expect("a slot for everything that the optimizer keeps");
        // A loop of its own for plain gradients: multiplications that change nothing cost up to a
        // tenth, even beside the memory.
        let is_plain = self.scale == 1.0 && self.decay == 0.0;
        // Now and then is soon enough, and costs nothing that could be seen.
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
        }
    }

    /// The gradient after clipping and decay.
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
            let g = self.gradient::<PLAIN>(g, *p);
            *m = adam.beta1 * *m + (1.0 - adam.beta1) * g;
            *v = adam.beta2 * *v + (1.0 - adam.beta2) * (g * g);
            *p -= adam.rate * *m / (v.sqrt() * adam.root + adam.epsilon);
        }
    }

    /// What plain SGD without decay subtracts from a parameter for an entry of the gradient: the same
    /// bits as [`apply`](Self::apply)'s.
    #[inline(always)]
    pub(crate) fn descent(&self, gradient: f32) -> f32 {
        self.rate * (self.scale * gradient)
    }

    /// Whether the optimizer leaves parameters alone whose gradient is zero.
    pub(crate) fn keeps_zeros(&self) -> bool {
        let plain = match self.optimizer {
            Optimizer::Sgd => true,
            Optimizer::Momentum { .. } | Optimizer::Adam { .. } => false,
        };
        plain && self.decay == 0.0
    }
}

/// Lets a velocity or first moment be zero where it has faded so far that it moves no parameter. Left
/// alone, what gets no gradient any more falls among the subnormal numbers and stays there, since
/// rounding keeps it from zero, and every operation on one of those takes a hundred times as long.
#[inline(always)]
fn fade(slot: &mut [f32]) {
    for x in slot {
        *x = if x.abs() < 1e-30 { 0.0 } else { *x };
    }
}

/// Clipping by norm (Pascanu, Mikolov, Bengio, 2013): what a gradient of `batches` batches is
/// multiplied by, `min(1, batches * limit / norm)`.
pub fn clip_scale(limit: Option<f32>, batches: u64, squared_norm: f64) -> f32 {
    // The sum of no squares may be -0.
    let norm = squared_norm.sqrt().abs();
    match limit {
        Some(limit) => (f64::from(limit) * batches as f64 / norm).min(1.0) as f32,
        None => 1.0,
    }
}

/// Adam's constants at one count of updates: `p -= rate / (1 - beta1^t) * m / (sqrt(v / (1 -
/// beta2^t)) + epsilon)` (Kingma, Ba, "Adam", 2015).
#[derive(Clone, Copy)]
struct Adam {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    rate: f32,
    root: f32,
}

impl Adam {
    fn new(beta1: f32, beta2: f32, epsilon: f32, rate: f32, count: u64) -> Self {
        let power = |beta: f32| f64::from(beta).powf(count as f64);
        Self {
            beta1,
            beta2,
            epsilon,
            rate: (f64::from(rate) / (1.0 - power(beta1))) as f32,
            root: (1.0 / (1.0 - power(beta2))).sqrt() as f32,
        }
    }
}
