//! The lengths of updates and of their sums, for the measurement of gradient noise.

use pulp::Arch;
use siren_core::{Entry, Optimizer};

use super::Step;
use super::optimizer::Adam;

/// The number of running sums. They do not depend on the instruction set, so that every one gives
/// the same bits.
const LANES: usize = 8;

/// The squared length of an update, and its product with the sum of the updates before it, summed
/// in 64 bits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Products {
    squares: [f64; LANES],
    with_sum: [f64; LANES],
}

impl Products {
    /// The squared length of the update.
    pub fn square(&self) -> f64 {
        self.squares.iter().sum()
    }

    /// The product of the update with the sum.
    pub fn with_sum(&self) -> f64 {
        self.with_sum.iter().sum()
    }

    #[inline(always)]
    fn add(&mut self, lane: usize, update: f32, sum: &mut f32, first: bool) {
        let (wide, before) = (f64::from(update), if first { 0.0 } else { *sum });
        self.squares[lane] += wide * wide;
        self.with_sum[lane] += f64::from(before) * wide;
        *sum = before + update;
    }
}

/// The map from a gradient to the update that noise is measured of. It is the clipped gradient,
/// divided by the root of the second moment if the optimizer does so. Weight decay and momentum are
/// left out.
#[derive(Clone, Copy, Debug)]
pub struct Preconditioner {
    scale: f32,
    /// The second moment's vector in the optimizer's state.
    slot: Option<usize>,
    initial: f32,
    root: f32,
    epsilon: f32,
}

impl Step {
    /// The preconditioner after the `count`-th update.
    pub fn preconditioner(&self, count: u64) -> Preconditioner {
        let plain =
            Preconditioner { scale: self.scale, slot: None, initial: 0.0, root: 1.0, epsilon: 0.0 };
        match self.optimizer {
            Optimizer::Sgd | Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => plain,
            Optimizer::Adagrad { initial, epsilon } => {
                Preconditioner { slot: Some(0), initial, epsilon, ..plain }
            }
            Optimizer::Adam { beta1, beta2, epsilon }
            | Optimizer::AdamW { beta1, beta2, epsilon } => {
                let root = Adam::new(beta1, beta2, epsilon, self.rate, count).root;
                Preconditioner { slot: Some(1), root, epsilon, ..plain }
            }
        }
    }
}

impl Preconditioner {
    #[inline(always)]
    fn divided(&self, gradient: f32, second: f32) -> f32 {
        self.scale * gradient / ((second + self.initial).sqrt() * self.root + self.epsilon)
    }

    /// The second moment of a range, if the optimizer has one.
    fn second<'a, S: AsRef<[f32]>>(&self, state: &'a [S]) -> Option<&'a [f32]> {
        self.slot.map(|slot| state[slot].as_ref())
    }

    /// Adds an update's entries of a range to `sum`, and their products to `products`. `state` has
    /// the optimizer's vectors of the same range. If this is the `first` update of a window, the
    /// content of `sum` is replaced.
    pub fn observe<S: AsRef<[f32]>>(
        &self,
        state: &[S],
        range: std::ops::Range<usize>,
        gradient: &[f32],
        sum: &mut [f32],
        first: bool,
        products: &mut Products,
    ) {
        let second = self.second(state).map(|second| &second[range.clone()]);
        self.observe_on(Arch::new(), second, &gradient[range], sum, first, products);
    }

    /// As [`observe`](Self::observe), with a given instruction set.
    pub(super) fn observe_on(
        &self,
        arch: Arch,
        second: Option<&[f32]>,
        gradient: &[f32],
        sum: &mut [f32],
        first: bool,
        products: &mut Products,
    ) {
        match (second, first) {
            (None, true) => arch.dispatch(|| self.plain::<true>(gradient, sum, products)),
            (None, false) => arch.dispatch(|| self.plain::<false>(gradient, sum, products)),
            (Some(second), true) => {
                arch.dispatch(|| self.rooted::<true>(second, gradient, sum, products));
            }
            (Some(second), false) => {
                arch.dispatch(|| self.rooted::<false>(second, gradient, sum, products));
            }
        }
    }

    #[inline(always)]
    fn plain<const FIRST: bool>(&self, gradient: &[f32], sum: &mut [f32], into: &mut Products) {
        let mut products = *into;
        let (gradients, rest) = gradient.as_chunks::<LANES>();
        let (sums, rest_of_sum) = sum.as_chunks_mut::<LANES>();
        for (gradient, sum) in gradients.iter().zip(sums) {
            for lane in 0..LANES {
                products.add(lane, self.scale * gradient[lane], &mut sum[lane], FIRST);
            }
        }
        for (lane, (&gradient, sum)) in rest.iter().zip(rest_of_sum).enumerate() {
            products.add(lane, self.scale * gradient, sum, FIRST);
        }
        *into = products;
    }

    #[inline(always)]
    fn rooted<const FIRST: bool>(
        &self,
        second: &[f32],
        gradient: &[f32],
        sum: &mut [f32],
        into: &mut Products,
    ) {
        let mut products = *into;
        let (gradients, rest) = gradient.as_chunks::<LANES>();
        let (seconds, rest_of_second) = second.as_chunks::<LANES>();
        let (sums, rest_of_sum) = sum.as_chunks_mut::<LANES>();
        for ((gradient, second), sum) in gradients.iter().zip(seconds).zip(sums) {
            let update: [f32; LANES] =
                std::array::from_fn(|lane| self.divided(gradient[lane], second[lane]));
            for lane in 0..LANES {
                products.add(lane, update[lane], &mut sum[lane], FIRST);
            }
        }
        let rest = rest.iter().zip(rest_of_second).zip(rest_of_sum);
        for (lane, ((&gradient, &second), sum)) in rest.enumerate() {
            products.add(lane, self.divided(gradient, second), sum, FIRST);
        }
        *into = products;
    }

    /// Adds the entries of a sparse update to `sum`, which must be zero before the first update of
    /// a window. The entries lie in the range of `sum`, which begins at index `start`; the range of
    /// `state` begins at `state_start`. The bits are those of the dense update with zeros
    /// elsewhere.
    pub fn observe_sparse<S: AsRef<[f32]>>(
        &self,
        (state, state_start): (&[S], usize),
        (entries, start): (&[Entry], usize),
        sum: &mut [f32],
        products: &mut Products,
    ) {
        let second = self.second(state);
        for entry in entries {
            let index = entry.index as usize;
            let at = index - start;
            let update = match second {
                None => self.scale * entry.value,
                Some(second) => self.divided(entry.value, second[index - state_start]),
            };
            products.add(at % LANES, update, &mut sum[at], false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::super::tests::{LENGTHS, archs, numbers};
    use super::*;

    /// The bits of a window's sum and of the products, after two updates.
    fn observed(
        step: Step,
        length: usize,
        mut observe: impl FnMut(
            &Preconditioner,
            Option<&[f32]>,
            &[f32],
            &mut [f32],
            bool,
            &mut Products,
        ),
    ) -> (Vec<u32>, u64, u64) {
        let second: Vec<f32> = numbers(length, 9).iter().map(|x| x * x).collect();
        let mut sum = vec![f32::NAN; length];
        let mut products = Products::default();
        for (count, first) in [(3, true), (4, false)] {
            let preconditioner = step.preconditioner(count);
            let second = preconditioner.slot.map(|_| second.as_slice());
            let gradient = numbers(length, count as u32);
            observe(&preconditioner, second, &gradient, &mut sum, first, &mut products);
        }
        let bits = sum.iter().map(|x| x.to_bits()).collect();
        (bits, products.square().to_bits(), products.with_sum().to_bits())
    }

    fn steps() -> impl Iterator<Item = Step> {
        Optimizer::samples().map(|optimizer| Step {
            optimizer,
            rate: 0.1,
            scale: 0.83,
            decay: 0.01,
        })
    }

    #[test]
    fn every_instruction_set_measures_the_same_bits() {
        for step in steps() {
            for length in LENGTHS {
                let plain = observed(step, length, |of, second, gradient, sum, first, products| {
                    for at in 0..black_box(length) {
                        let update = match second {
                            None => of.scale * gradient[at],
                            Some(second) => of.divided(gradient[at], second[at]),
                        };
                        products.add(at % LANES, update, &mut sum[at], first);
                    }
                });
                for arch in archs() {
                    let vector =
                        observed(step, length, |of, second, gradient, sum, first, into| {
                            of.observe_on(arch, second, gradient, sum, first, into);
                        });
                    assert!(vector == plain, "{step:?} on {length} entries, {arch:?}");
                }
            }
        }
    }

    #[test]
    fn a_sparse_update_measures_the_bits_of_the_dense_one() {
        for step in steps() {
            let state = vec![numbers(99, 7).iter().map(|x| x * x).collect::<Vec<f32>>(); 2];
            let mut gradient = numbers(99, 8);
            gradient.iter_mut().step_by(3).for_each(|x| *x = 0.0);
            let entries: Vec<Entry> = (0..99)
                .map(|at| Entry { index: 1_000 + at, value: gradient[at as usize] })
                .filter(|entry| entry.value != 0.0)
                .collect();
            let of = step.preconditioner(5);
            let (mut dense, mut sparse) = (Products::default(), Products::default());
            let mut sums = [numbers(99, 3), numbers(99, 3)];
            of.observe(&state, 0..99, &gradient, &mut sums[0], false, &mut dense);
            of.observe_sparse((&state, 1_000), (&entries, 1_000), &mut sums[1], &mut sparse);
            assert_eq!(sums[0], sums[1], "{step:?}");
            let bits = |of: Products| (of.square().to_bits(), of.with_sum().to_bits());
            assert_eq!(bits(dense), bits(sparse), "{step:?}");
        }
    }
}
