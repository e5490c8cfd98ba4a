//! What an update does to parameters: one pass over plain slices for each rule.
//!
//! No fused multiply-add: the loops are bound by memory, and without it every instruction set gives
//! the same bits.

use siren_core::UpdateRule;

/// The numbers of one update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The rule.
    pub(crate) rule: UpdateRule,
    /// The learning rate.
    pub(crate) rate: f32,
    /// What the gradient is multiplied by: below one when it is clipped.
    pub(crate) scale: f32,
    /// Weight decay.
    pub(crate) decay: f32,
}

impl Step {
    /// Applies the `count`-th update, counted from 1, to one block.
    pub(crate) fn apply(
        &self,
        count: u64,
        values: &mut [f32],
        slots: &mut [Box<[f32]>],
        gradient: &[f32],
    ) {
        match (self.rule, slots) {
            (UpdateRule::Momentum { momentum }, [velocity]) => {
                self.momentum(momentum, values, velocity, gradient);
            }
            (UpdateRule::Adam { beta1, beta2, epsilon }, [first, second]) => self.adam(
                Adam::new(beta1, beta2, epsilon, self.rate, count),
                values,
                first,
                second,
                gradient,
            ),
            _ => self.sgd(values, gradient),
        }
    }

    fn sgd(&self, values: &mut [f32], gradient: &[f32]) {
        let Self { rate, scale, decay, .. } = *self;
        for (p, &g) in values.iter_mut().zip(gradient) {
            *p -= rate * (scale * g + decay * *p);
        }
    }

    fn momentum(&self, momentum: f32, values: &mut [f32], velocity: &mut [f32], gradient: &[f32]) {
        let Self { rate, scale, decay, .. } = *self;
        for ((p, v), &g) in values.iter_mut().zip(velocity).zip(gradient) {
            *v = momentum * *v + (scale * g + decay * *p);
            *p -= rate * *v;
        }
    }

    fn adam(
        &self,
        adam: Adam,
        values: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
    ) {
        let Self { scale, decay, .. } = *self;
        let moments = first.iter_mut().zip(second);
        for ((p, (m, v)), &g) in values.iter_mut().zip(moments).zip(gradient) {
            let g = scale * g + decay * *p;
            *m = adam.beta1 * *m + (1.0 - adam.beta1) * g;
            *v = adam.beta2 * *v + (1.0 - adam.beta2) * (g * g);
            *p -= adam.rate * *m / (v.sqrt() * adam.root + adam.epsilon);
        }
    }
}

/// Adam's constants at one count of updates: `p -= rate / (1 - beta1^t) * m / (sqrt(v / (1 -
/// beta2^t)) + epsilon)`.
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

/// `y += x`.
pub(crate) fn add(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// `y -= rate * x`.
pub(crate) fn descend(y: &mut [f32], rate: f32, x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y -= rate * x;
    }
}

/// The squared Euclidean norm, added up in 64 bits. Eight running sums, so that the result does not
/// depend on the instruction set and the additions do not wait for one another.
pub(crate) fn squared_norm(x: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (chunks, rest) = x.as_chunks::<8>();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(x) * f64::from(x);
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += f64::from(x) * f64::from(x);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_that_of_the_plain_sum() {
        let x: Vec<f32> = (0..1_003).map(|i| (i % 17) as f32 - 8.0).collect();
        let plain: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        assert_eq!(squared_norm(&x), plain);
        assert!(squared_norm(&[1.0, f32::NAN]).is_nan());
        assert_eq!(squared_norm(&[f32::INFINITY]), f64::INFINITY);
        // Squares that overflow 32 bits do not overflow the sum.
        assert!(squared_norm(&[f32::MAX; 4]).is_finite());
    }

    #[test]
    fn the_first_step_of_adam_has_the_length_of_the_rate() {
        let step = Step { rule: UpdateRule::ADAM, rate: 0.01, scale: 1.0, decay: 0.0 };
        let mut slots = [vec![0.0; 2].into(), vec![0.0; 2].into()];
        let mut values = [1.0, 1.0];
        step.apply(1, &mut values, &mut slots, &[0.5, -3.0]);
        assert!((values[0] - 0.99).abs() < 1e-6 && (values[1] - 1.01).abs() < 1e-6);
    }
}
