use std::hint::black_box;

use pulp::Arch;
use siren_core::{Entry, Optimizer};

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

/// Parameters and optimizer state.
type State = (Vec<f32>, Vec<Vec<f32>>);

/// The state after one update of 99 parameters, the first of which is negative zero.
fn after_one_update(step: &Step) -> State {
    let mut values = numbers(99, 4);
    let mut optimizer_state = vec![vec![0.0; 99]; step.optimizer.state_vectors()];
    step.apply(1, &mut values, &mut optimizer_state, &numbers(99, 5));
    values[0] = -0.0;
    (values, optimizer_state)
}

fn bits_of((values, optimizer_state): &State) -> (Vec<u32>, Vec<Vec<u32>>) {
    (bits(values), optimizer_state.iter().map(|slot| bits(slot)).collect())
}

/// Every optimizer, with and without clipping and weight decay.
fn steps() -> impl Iterator<Item = Step> {
    let numbers_of = [(1.0, 0.0), (0.83, 0.0), (1.0, 0.01), (0.83, 0.01)];
    Optimizer::samples().flat_map(move |optimizer| {
        numbers_of.map(|(scale, decay)| Step { optimizer, rate: 0.37, scale, decay })
    })
}

#[test]
fn a_step_that_keeps_zeros_changes_only_its_entries_and_as_the_vector_does() {
    let mut kept = Vec::new();
    for step in steps().filter(Step::keeps_zeros) {
        for (entries, stride) in [(0, 1), (1, 99), (33, 3), (99, 1)] {
            let (start, numbers) = (1_000, numbers(99, 6));
            let at = (0..99).step_by(stride).take(entries);
            let entries: Vec<Entry> =
                at.map(|at| Entry { index: at as u32 + start, value: numbers[at] }).collect();
            let mut gradient = vec![0.0; 99];
            for entry in &entries {
                gradient[(entry.index - start) as usize] = entry.value;
            }
            let before = after_one_update(&step);
            let (mut dense, mut sparse) = (before.clone(), before.clone());
            step.apply(2, &mut dense.0, &mut dense.1, &gradient);
            step.apply_entries(&mut sparse.0, &mut sparse.1, start as usize, &entries);
            assert_eq!(bits_of(&sparse), bits_of(&dense), "{step:?}, {} entries", entries.len());
            assert_eq!(bits_of(&sparse) == bits_of(&before), entries.is_empty(), "{step:?}");
            if step.only_descends() {
                let pairs = before.0.iter().zip(&gradient);
                let later: Vec<_> = pairs.map(|(p, &g)| p - step.descent(g)).collect();
                assert_eq!(bits(&later), bits(&dense.0), "{step:?}");
            }
        }
        kept.push((step.optimizer.name(), step.only_descends()));
    }
    let sgd = ("sgd", true);
    assert_eq!(kept, [sgd, sgd, ("adagrad", false), ("adagrad", false)]);
}

#[test]
fn zeros_change_something_unless_the_step_keeps_them() {
    for step in steps() {
        let before = after_one_update(&step);
        let mut after = before.clone();
        step.apply(2, &mut after.0, &mut after.1, &[0.0; 99]);
        assert_eq!(bits_of(&after) == bits_of(&before), step.keeps_zeros(), "{step:?}");
    }
}

#[test]
fn the_whole_step_is_proportional_to_the_rate() {
    for step in steps() {
        let before = after_one_update(&step);
        let moved = |rate: f32| {
            let (mut values, mut optimizer_state) = before.clone();
            let step = Step { rate, ..step };
            step.apply(2, &mut values, &mut optimizer_state, &numbers(99, 6));
            let pairs = values.iter().zip(&before.0);
            (pairs.map(|(p, q)| p - q).collect::<Vec<_>>(), optimizer_state)
        };
        let ((one, state), (two, same_state)) = (moved(0.25), moved(0.5));
        assert_eq!(state, same_state, "{step:?}");
        for ((one, two), value) in one.iter().zip(&two).zip(&before.0) {
            let rounding = 4.0 * f32::EPSILON * (value.abs() + two.abs());
            assert!((2.0 * one - two).abs() <= rounding, "{step:?}: {one}, {two}");
        }
        assert_eq!(moved(0.0).0, [0.0; 99], "{step:?}");
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
    let fades = |optimizer: &Optimizer| match optimizer {
        Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => true,
        Optimizer::Adam { .. } | Optimizer::AdamW { .. } => true,
        Optimizer::Sgd | Optimizer::Adagrad { .. } => false,
    };
    for optimizer in Optimizer::samples().filter(fades) {
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

#[test]
fn the_steps_of_adagrad_begin_at_the_rate_and_become_shorter() {
    let step = Step { optimizer: Optimizer::ADAGRAD, rate: 0.01, scale: 1.0, decay: 0.0 };
    let mut sums = [[0.0; 2]];
    let mut values = [1.0, 1.0];
    for count in 1..=4_u32 {
        let before = values;
        step.apply(count.into(), &mut values, &mut sums, &[0.5, -3.0]);
        let length = 0.01 / (count as f32).sqrt();
        assert!((before[0] - values[0] - length).abs() < 1e-6, "{count}: {before:?} {values:?}");
        assert!((values[1] - before[1] - length).abs() < 1e-6, "{count}: {before:?} {values:?}");
    }
    assert_eq!(sums, [[1.0, 36.0]]);
}

#[test]
fn adamw_without_decay_is_adam() {
    for scale in [1.0, 0.83] {
        let run = |optimizer| {
            let step = Step { optimizer, rate: 0.01, scale, decay: 0.0 };
            let mut state = after_one_update(&step);
            step.apply(2, &mut state.0, &mut state.1, &numbers(99, 6));
            bits_of(&state)
        };
        assert_eq!(run(Optimizer::ADAMW), run(Optimizer::ADAM));
    }
}

#[test]
fn adamw_decays_parameters_that_get_no_gradient() {
    let (rate, decay) = (0.25, 0.5);
    let step = Step { optimizer: Optimizer::ADAMW, rate, scale: 1.0, decay };
    let mut moments = [vec![0.0], vec![0.0]];
    let mut values = [8.0];
    step.apply(1, &mut values, &mut moments, &[0.0]);
    assert_eq!((values, moments), ([7.0], [vec![0.0], vec![0.0]]));
}
