use std::hint::black_box;

use pulp::Arch;
use siren_core::Optimizer;

use super::optimizer::Step;
use super::vector::{squared_norm_on, weighted_sum_on};
use super::*;

/// The instruction sets that this machine has, narrowest first.
pub(super) fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

/// Numbers of many sizes, whose products and sums round.
pub(super) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state
    };
    (0..count)
        .map(|_| {
            let mantissa = next() as f32 / u32::MAX as f32 - 0.5;
            mantissa * 2.0_f32.powi((next() >> 28) as i32 - 8)
        })
        .collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Applies the update of a count to values and optimizer state.
type Apply = Box<dyn FnMut(u64, &mut [f32], &mut [Vec<f32>], &[f32])>;

/// Lengths around the widths of vectors and blocks.
pub(super) const LENGTHS: [usize; 9] = [0, 1, 7, 8, 9, 33, 2_047, 2_049, 5_003];

#[test]
fn every_instruction_set_gives_the_same_bits_as_one_entry_at_a_time() {
    let numbers_of = [(1.0, 0.0), (0.83, 0.0), (0.83, 0.01)];
    for (optimizer, (scale, decay)) in
        Optimizer::samples().flat_map(|optimizer| numbers_of.map(|numbers| (optimizer, numbers)))
    {
        let step = Step { optimizer, rate: 0.37, scale, decay };
        for length in LENGTHS {
            let start = numbers(length, 1);
            let gradients = [numbers(length, 2), numbers(length, 3)];
            let run = |mut apply: Apply| {
                let mut values = start.clone();
                let mut optimizer_state = vec![vec![0.0; length]; optimizer.state_vectors()];
                // At one of these counts faded entries are set to zero.
                for (count, gradient) in (15..).zip(&gradients) {
                    apply(count, &mut values, &mut optimizer_state, gradient);
                }
                (bits(&values), optimizer_state.iter().map(|slot| bits(slot)).collect::<Vec<_>>())
            };
            // A slice of one entry leaves nothing to vectorise.
            let plain = run(Box::new(move |count, values, optimizer_state, gradient| {
                for entry in 0..black_box(values.len()) {
                    let one = entry..entry + 1;
                    let mut optimizer_state: Vec<&mut [f32]> =
                        optimizer_state.iter_mut().map(|slot| &mut slot[one.clone()]).collect();
                    let (values, gradient) = (&mut values[one.clone()], &gradient[one.clone()]);
                    step.apply_on(Arch::Scalar, count, values, &mut optimizer_state, gradient);
                }
            }));
            for arch in archs() {
                let vector = run(Box::new(move |count, values, optimizer_state, gradient| {
                    step.apply_on(arch, count, values, optimizer_state, gradient);
                }));
                assert!(vector == plain, "{optimizer:?} on {length} entries, {arch:?}");
            }
        }
    }
}

#[test]
fn sums_and_norms_are_the_same_on_every_instruction_set() {
    for length in LENGTHS {
        for count in 0..10 {
            let vectors: Vec<_> = (0..count).map(|seed| numbers(length, seed)).collect();
            let weighted = || (1..).zip(&vectors).map(|(w, x)| (0.1 * w as f32, x.as_slice()));
            let plain: Vec<f32> = (0..length)
                .map(|entry| weighted().fold(0.0, |sum, (w, x)| sum + w * x[entry]))
                .collect();
            let norm = squared_norm_on(Arch::Scalar, &plain);
            for arch in archs() {
                let mut out = vec![f32::NAN; length];
                weighted_sum_on(arch, &mut out, weighted());
                assert_eq!(bits(&out), bits(&plain), "{count} vectors of {length}, {arch:?}");
                assert_eq!(squared_norm_on(arch, &plain).to_bits(), norm.to_bits(), "{arch:?}");
            }
        }
    }
}

#[test]
fn sparse_descent_is_that_of_the_vector() {
    for scale in [1.0, 0.83] {
        let step = Step { optimizer: Optimizer::Sgd, rate: 0.37, scale, decay: 0.0 };
        let (start, gradient) = (numbers(99, 4), numbers(99, 5));
        let mut dense = start.clone();
        step.apply(1, &mut dense, &mut [[0.0_f32; 0]; 0], &gradient);
        let pairs = start.iter().zip(&gradient);
        let sparse: Vec<_> = pairs.map(|(p, &g)| p - step.descent(g)).collect();
        assert_eq!(bits(&dense), bits(&sparse));
    }
}

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
fn add_and_descend_are_what_they_say() {
    let (x, mut y) = (numbers(1_003, 6), numbers(1_003, 7));
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| (y + x) - 0.3 * x).collect();
    add(&mut y, 1.0, &x);
    descend(&mut y, 0.3, &x);
    assert_eq!(bits(&y), bits(&expected));
}

/// Subnormal numbers would stay and slow down every update.
#[test]
fn what_gets_no_gradient_any_more_fades_to_zero() {
    for optimizer in Optimizer::samples().filter(|optimizer| optimizer.state_vectors() > 0) {
        let step = Step { optimizer, rate: 0.01, scale: 1.0, decay: 0.0 };
        let mut optimizer_state = vec![vec![0.0; 9]; optimizer.state_vectors()];
        let mut values = [1.0; 9];
        step.apply(1, &mut values, &mut optimizer_state, &[0.5; 9]);
        for count in 2..2_000 {
            step.apply(count, &mut values, &mut optimizer_state, &[0.0; 9]);
        }
        assert_eq!(optimizer_state[0], [0.0; 9], "{optimizer:?}");
    }
}

#[test]
fn the_first_step_of_adam_has_the_length_of_the_rate() {
    let step = Step { optimizer: Optimizer::ADAM, rate: 0.01, scale: 1.0, decay: 0.0 };
    let mut optimizer_state = [vec![0.0; 2], vec![0.0; 2]];
    let mut values = [1.0, 1.0];
    step.apply(1, &mut values, &mut optimizer_state, &[0.5, -3.0]);
    assert!((values[0] - 0.99).abs() < 1e-6 && (values[1] - 1.01).abs() < 1e-6);
}
