//! Nonlinear least squares with a handful of unknowns.
//!
//! The fits of this crate have at most five unknowns and a few hundred residuals, and their
//! numerical derivatives are cheap. A crate for this would add a linear-algebra library
//! (`levenberg-marquardt` needs `nalgebra`) for one small elimination.

/// Finds the unknowns near `start` that minimise the sum of squared residuals (Levenberg, 1944;
/// Marquardt, 1963), and returns them with that sum. `residuals` appends the same number of
/// residuals in each call. If one is not finite, the unknowns are not taken.
pub(crate) fn least_squares<const N: usize>(
    start: [f64; N],
    residuals: impl Fn(&[f64; N], &mut Vec<f64>),
) -> ([f64; N], f64) {
    const ITERATIONS: usize = 200;
    let sum = |of: &[f64]| {
        let sum: f64 = of.iter().map(|r| r * r).sum();
        if sum.is_finite() { sum } else { f64::INFINITY }
    };
    let at = |x: &[f64; N], into: &mut Vec<f64>| {
        into.clear();
        residuals(x, into);
        sum(into)
    };
    let (mut x, mut here, mut there) = (start, Vec::new(), Vec::new());
    let mut best = at(&x, &mut here);
    let mut damping = 1e-3;
    let mut columns: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ITERATIONS {
        for (index, column) in columns.iter_mut().enumerate() {
            let mut moved = x;
            let width = 1e-6 * x[index].abs().max(1.0);
            moved[index] += width;
            at(&moved, column);
            for (moved, here) in column.iter_mut().zip(&here) {
                *moved = (*moved - here) / width;
            }
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut improved = false;
        while damping < 1e12 {
            let mut system = [[0.0; N]; N];
            for (row, values) in system.iter_mut().enumerate() {
                for (column, value) in values.iter_mut().enumerate() {
                    *value = dot(&columns[row], &columns[column]);
                }
                values[row] += damping * values[row].max(1e-12);
            }
            let right = std::array::from_fn(|row| -dot(&columns[row], &here));
            let Some(step) = solve(system, right) else {
                damping *= 10.0;
                continue;
            };
            let moved: [f64; N] = std::array::from_fn(|index| x[index] + step[index]);
            let found = at(&moved, &mut there);
            if found < best {
                improved = best - found > 1e-12 * best;
                (x, best) = (moved, found);
                std::mem::swap(&mut here, &mut there);
                damping = (damping / 10.0).max(1e-12);
                break;
            }
            damping *= 10.0;
        }
        if !improved {
            break;
        }
    }
    (x, best)
}

/// Solves a small system of linear equations by elimination with pivots.
fn solve<const N: usize>(mut system: [[f64; N]; N], mut right: [f64; N]) -> Option<[f64; N]> {
    for column in 0..N {
        let pivot = (column..N)
            .max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs()))?;
        system.swap(column, pivot);
        right.swap(column, pivot);
        let top = system[column];
        if top[column] == 0.0 || !top[column].is_finite() {
            return None;
        }
        for row in column + 1..N {
            let factor = system[row][column] / top[column];
            for index in column..N {
                system[row][index] -= factor * top[index];
            }
            right[row] -= factor * right[column];
        }
    }
    for row in (0..N).rev() {
        for column in row + 1..N {
            right[row] -= system[row][column] * right[column];
        }
        right[row] /= system[row][row];
    }
    right.iter().all(|x| x.is_finite()).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_needs_pivots_is_solved() {
        let found = solve([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0], [4.0, 1.0, 3.0]], [7.0, 1.0, 15.0]);
        let found = found.unwrap();
        for (found, known) in found.into_iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - known).abs() < 1e-12, "{found}, not {known}");
        }
        assert_eq!(solve([[1.0, 1.0], [1.0, 1.0]], [1.0, 2.0]), None);
    }

    #[test]
    fn the_valley_of_rosenbrock_is_walked_to_its_end() {
        let (x, sum) = least_squares([-1.2, 1.0], |x, into| {
            into.extend([10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]]);
        });
        assert!((x[0] - 1.0).abs() < 1e-5 && (x[1] - 1.0).abs() < 1e-5, "{x:?}");
        assert!(sum < 1e-9);
    }

    #[test]
    fn what_is_not_finite_is_avoided() {
        let (x, _) = least_squares([0.1_f64], |x, into| into.push(x[0].ln() - 3.0));
        assert!((x[0].ln() - 3.0).abs() < 1e-4, "{x:?}");
    }
}
