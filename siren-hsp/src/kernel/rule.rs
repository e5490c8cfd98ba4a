//! Update rules.

use pulp::Arch;
use siren_core::UpdateRule;

/// The numbers of one update.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The rule.
    pub rule: UpdateRule,
    /// The learning rate.
    pub rate: f32,
    /// What the gradient is multiplied by: below one when it is clipped.
    pub scale: f32,
    /// Weight decay.
    pub decay: f32,
}

impl Step {
    /// Applies the `count`-th update, counted from 1, to a range of the parameters, in one pass.
    /// `slots` are what the rule keeps of that range.
    ///
    /// # Panics
    ///
    /// When there are fewer slots than the rule has, or lengths differ.
    pub fn apply<S: AsMut<[f32]>>(
        &self,
        count: u64,
        values: &mut [f32],
        slots: &mut [S],
        gradient: &[f32],
    ) {
        self.apply_on(Arch::new(), count, values, slots, gradient);
    }

    /// As [`apply`](Self::apply), with the vectors of one instruction set.
    pub(super) fn apply_on<S: AsMut<[f32]>>(
        &self,
        arch: Arch,
        count: u64,
        values: &mut [f32],
        slots: &mut [S],
        gradient: &[f32],
    ) {
        assert_eq!(values.len(), gradient.len(), "one entry of the gradient for each parameter");
        let Self { rate, scale, decay, .. } = *self;
        let mut slots = slots.iter_mut().map(|slot| {
            let slot = slot.as_mut();
            assert_eq!(slot.len(), values.len(), "one entry of a slot for each parameter");
            slot
        });
        let mut slot = || slots.next().expect("a slot for everything that the rule keeps");
        match self.rule {
            UpdateRule::Sgd if decay == 0.0 => {
                arch.dispatch(|| plain(values, gradient, rate, scale));
            }
            UpdateRule::Sgd => arch.dispatch(|| sgd(values, gradient, rate, scale, decay)),
            UpdateRule::Momentum { momentum } => {
                let velocity = slot();
                arch.dispatch(|| {
                    heavy_ball(values, velocity, gradient, rate, scale, decay, momentum);
                });
            }
            UpdateRule::Adam { beta1, beta2, epsilon } => {
                let (first, second) = (slot(), slot());
                let adam = Adam::new(beta1, beta2, epsilon, rate, count);
                arch.dispatch(|| adam.apply(values, first, second, gradient, scale, decay));
            }
            other => unreachable!("the rule {other:?} has no kernel"),
        }
    }

    /// What plain SGD without decay subtracts from a parameter for an entry of the gradient: the same
    /// bits as [`apply`](Self::apply)'s.
    #[inline(always)]
    pub(crate) fn descent(&self, gradient: f32) -> f32 {
        self.rate * (self.scale * gradient)
    }

    /// Whether the rule leaves parameters alone whose gradient is zero.
    pub(crate) fn keeps_zeros(&self) -> bool {
        self.rule == UpdateRule::Sgd && self.decay == 0.0
    }
}

/// `p -= rate * (scale * g)`.
#[inline(always)]
fn plain(values: &mut [f32], gradient: &[f32], rate: f32, scale: f32) {
    for (p, &g) in values.iter_mut().zip(gradient) {
        *p -= rate * (scale * g);
    }
}

/// `p -= rate * (scale * g + decay * p)`.
#[inline(always)]
fn sgd(values: &mut [f32], gradient: &[f32], rate: f32, scale: f32, decay: f32) {
    for (p, &g) in values.iter_mut().zip(gradient) {
        *p -= rate * (scale * g + decay * *p);
    }
}

/// `v = momentum * v + scale * g + decay * p; p -= rate * v`.
#[inline(always)]
fn heavy_ball(
    values: &mut [f32],
    velocity: &mut [f32],
    gradient: &[f32],
    rate: f32,
    scale: f32,
    decay: f32,
    momentum: f32,
) {
    for ((p, v), &g) in values.iter_mut().zip(velocity).zip(gradient) {
        *v = momentum * *v + (scale * g + decay * *p);
        *p -= rate * *v;
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

    #[inline(always)]
    fn apply(
        self,
        values: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
        scale: f32,
        decay: f32,
    ) {
        let moments = first.iter_mut().zip(second);
        for ((p, (m, v)), &g) in values.iter_mut().zip(moments).zip(gradient) {
            let g = scale * g + decay * *p;
            *m = self.beta1 * *m + (1.0 - self.beta1) * g;
            *v = self.beta2 * *v + (1.0 - self.beta2) * (g * g);
            *p -= self.rate * *m / (v.sqrt() * self.root + self.epsilon);
        }
    }
}
