//! Sums and norms.

use pulp::Arch;
use siren_core::Entry;

use super::vectorised;

/// The block length of a sum over several vectors: 8 KB, which stay in the L1 cache while the
/// vectors are added.
const BLOCK: usize = 2_048;

/// `y += scale * x`.
pub fn add(y: &mut [f32], scale: f32, x: &[f32]) {
    vectorised(|| add_scaled(y, scale, x));
}

/// `y -= rate * x`.
pub fn descend(y: &mut [f32], rate: f32, x: &[f32]) {
    vectorised(|| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y -= rate * x;
        }
    });
}

/// The squared Euclidean norm, summed in 64 bits. There are eight running sums, so that the result
/// does not depend on the instruction set and the additions are independent of one another.
pub fn squared_norm(x: &[f32]) -> f64 {
    squared_norm_on(Arch::new(), x)
}

/// The squared Euclidean norm of a sparse vector; zero if it has no entries.
pub fn squared_norm_of(entries: &[Entry]) -> f64 {
    entries.iter().fold(0.0, |sum, entry| sum + f64::from(entry.value).powi(2))
}

pub(super) fn squared_norm_on(arch: Arch, x: &[f32]) -> f64 {
    arch.dispatch(|| norm(x))
}

#[inline(always)]
fn norm(x: &[f32]) -> f64 {
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

/// `out = w0 * x0 + w1 * x1 + …`, summed in this order; zeros if there are no vectors. For a mean,
/// pass weights that add up to one.
///
/// # Panics
///
/// When a vector is shorter than `out`.
pub fn weighted_sum<'a, I>(out: &mut [f32], vectors: I)
where
    I: IntoIterator<Item = (f32, &'a [f32]), IntoIter: Clone>,
{
    weighted_sum_on(Arch::new(), out, vectors);
}

pub(super) fn weighted_sum_on<'a, I>(arch: Arch, out: &mut [f32], vectors: I)
where
    I: IntoIterator<Item = (f32, &'a [f32]), IntoIter: Clone>,
{
    let vectors = vectors.into_iter();
    for (index, out) in out.chunks_mut(BLOCK).enumerate() {
        let from = index * BLOCK;
        let length = out.len();
        let mut vectors = vectors.clone().map(|(weight, x)| (weight, &x[from..from + length]));
        out.fill(0.0);
        // Four at a time: a core reads four streams well, and `out` is passed over a quarter as
        // often.
        while let Some(one) = vectors.next() {
            match (vectors.next(), vectors.next(), vectors.next()) {
                (Some(two), Some(three), Some(four)) => {
                    arch.dispatch(|| add_four(out, [one, two, three, four]));
                }
                (two, three, _) => {
                    for (weight, x) in [Some(one), two, three].into_iter().flatten() {
                        arch.dispatch(|| add_scaled(out, weight, x));
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn add_scaled(out: &mut [f32], weight: f32, x: &[f32]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out += weight * x;
    }
}

#[inline(always)]
fn add_four(out: &mut [f32], [(wa, a), (wb, b), (wc, c), (wd, d)]: [(f32, &[f32]); 4]) {
    for ((((out, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *out = *out + wa * a + wb * b + wc * c + wd * d;
    }
}
