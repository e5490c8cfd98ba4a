//! The limit: loops over plain slices that read and write the same bytes as a push, compiled for
//! the machine's vectors, without blocks, locks or bookkeeping.

use std::hint::black_box;
use std::ops::Range;

use pulp::Arch;
use siren::Optimizer;

pub(crate) const RATE: f32 = 1e-6;

/// Parameters and the optimizer's state, as whole vectors.
pub(crate) struct Bare {
    optimizer: Optimizer,
    values: Vec<f32>,
    slots: Vec<Vec<f32>>,
}

impl Bare {
    pub(crate) fn new(optimizer: Optimizer, parameters: usize) -> Self {
        // Written to, so that the pages are mapped.
        let vector = || vec![1.0; parameters];
        Self {
            optimizer,
            values: vector(),
            slots: (0..optimizer.state_vectors()).map(|_| vector()).collect(),
        }
    }

    pub(crate) fn push(&mut self, gradient: &[f32]) {
        let all = 0..self.values.len();
        self.push_range(all, gradient);
    }

    pub(crate) fn push_from(&mut self, start: usize, gradient: &[f32]) {
        let len = self.values.len();
        self.push_range(start..len, gradient);
        self.push_range(0..start, gradient);
    }

    fn push_range(&mut self, range: Range<usize>, gradient: &[f32]) {
        let arch = Arch::new();
        let values = &mut self.values[range.clone()];
        let gradient = &gradient[range.clone()];
        let mut slots = self.slots.iter_mut().map(|slot| &mut slot[range.clone()]);
        let mut slot = || slots.next().expect("a vector for each that the optimizer keeps");
        match self.optimizer {
            Optimizer::Sgd => arch.dispatch(|| sgd(values, gradient)),
            Optimizer::Momentum { momentum } => {
                let velocity = slot();
                arch.dispatch(|| heavy_ball(values, velocity, gradient, momentum));
            }
            Optimizer::Nesterov { momentum } => {
                let velocity = slot();
                arch.dispatch(|| nesterov(values, velocity, gradient, momentum));
            }
            Optimizer::Adagrad { initial, epsilon } => {
                let (sums, numbers) = (slot(), black_box([initial, epsilon]));
                arch.dispatch(|| adagrad(values, sums, gradient, numbers));
            }
            // Without weight decay both are the same.
            Optimizer::Adam { beta1, beta2, epsilon }
            | Optimizer::AdamW { beta1, beta2, epsilon } => {
                let (first, second) = (slot(), slot());
                // The bias corrections of rate and root, after very many updates.
                let numbers = black_box([beta1, beta2, epsilon, RATE, 1.0]);
                arch.dispatch(|| adam(values, first, second, gradient, numbers));
            }
        }
    }

    pub(crate) fn pull(&self, into: &mut [f32]) {
        into.copy_from_slice(&self.values);
    }
}

#[inline(always)]
fn sgd(values: &mut [f32], gradient: &[f32]) {
    for (p, &g) in values.iter_mut().zip(gradient) {
        *p -= RATE * g;
    }
}

#[inline(always)]
fn heavy_ball(values: &mut [f32], velocity: &mut [f32], gradient: &[f32], momentum: f32) {
    for ((p, v), &g) in values.iter_mut().zip(velocity).zip(gradient) {
        *v = momentum * *v + g;
        *p -= RATE * *v;
    }
}

#[inline(always)]
fn nesterov(values: &mut [f32], velocity: &mut [f32], gradient: &[f32], momentum: f32) {
    for ((p, v), &g) in values.iter_mut().zip(velocity).zip(gradient) {
        *v = momentum * *v + g;
        *p -= RATE * (g + momentum * *v);
    }
}

#[inline(always)]
fn adagrad(values: &mut [f32], sums: &mut [f32], gradient: &[f32], [initial, epsilon]: [f32; 2]) {
    for ((p, s), &g) in values.iter_mut().zip(sums).zip(gradient) {
        *s += g * g;
        *p -= RATE * g / ((*s + initial).sqrt() + epsilon);
    }
}

#[inline(always)]
fn adam(
    values: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    gradient: &[f32],
    [beta1, beta2, epsilon, rate, root]: [f32; 5],
) {
    let moments = first.iter_mut().zip(second);
    for ((p, (m, v)), &g) in values.iter_mut().zip(moments).zip(gradient) {
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * (g * g);
        *p -= rate * *m / (v.sqrt() * root + epsilon);
    }
}

/// The mean of 16 vectors, one entry of all vectors at a time.
pub(crate) fn mean_by_entry(out: &mut [f32], vectors: &[Vec<f32>; 16]) {
    let vectors = vectors.each_ref().map(|vector| &vector[..out.len()]);
    Arch::new().dispatch(|| {
        for (entry, out) in out.iter_mut().enumerate() {
            *out = vectors.iter().map(|vector| vector[entry]).sum::<f32>() / 16.0;
        }
    });
}

/// The mean of 16 vectors, four of them in each pass.
pub(crate) fn mean_by_fours(out: &mut [f32], vectors: &[Vec<f32>; 16]) {
    out.fill(0.0);
    for [a, b, c, d] in vectors.as_chunks::<4>().0 {
        Arch::new().dispatch(|| {
            for ((((out, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *out += (a + b + c + d) / 16.0;
            }
        });
    }
}

/// `a = b + s * c`, as in the STREAM benchmark.
pub(crate) fn triad(a: &mut [f32], b: &[f32], c: &[f32]) {
    Arch::new().dispatch(|| {
        for ((a, &b), &c) in a.iter_mut().zip(b).zip(c) {
            *a = b + 3.0 * c;
        }
    });
}
