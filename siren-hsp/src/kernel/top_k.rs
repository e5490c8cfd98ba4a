//! The largest entries of a vector.

use siren_core::Entry;

/// Moves the largest entries out of vectors. Allocates nothing after the first call.
#[derive(Clone, Debug, Default)]
pub struct TopK {
    entries: Vec<Entry>,
    magnitudes: Vec<u32>,
}

impl TopK {
    /// The entries of the last [`take`](Self::take), by rising index.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Takes the entries with the largest absolute values and leaves zeros in their places. Their
    /// number is `share` times the length, rounded, and at least one. Among equal values the first
    /// are taken. Zeros are never taken. NaN counts as larger than every number.
    pub fn take(&mut self, share: f64, values: &mut [f32]) {
        self.entries.clear();
        if values.is_empty() {
            return;
        }
        let count = ((share * values.len() as f64).round() as usize).clamp(1, values.len());
        // The bits of absolute values have the same order as the values.
        let magnitude = |value: f32| value.abs().to_bits();
        self.magnitudes.clear();
        self.magnitudes.extend(values.iter().map(|&value| magnitude(value)));
        let at = values.len() - count;
        let (_, &mut threshold, above) = self.magnitudes.select_nth_unstable(at);
        let larger = above.iter().filter(|&&above| above > threshold).count();
        let mut equal = count - larger;
        for (index, value) in (0..).zip(values) {
            let size = magnitude(*value);
            let taken = size > threshold || size == threshold && size > 0 && equal > 0;
            if taken {
                equal -= usize::from(size == threshold);
                self.entries.push(Entry { index, value: *value });
                *value = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(share: f64, values: &mut [f32]) -> Vec<(u32, f32)> {
        let mut top_k = TopK::default();
        // Entries of an earlier call must not matter.
        top_k.take(1.0, &mut [7.0; 9]);
        top_k.take(share, values);
        top_k.entries().iter().map(|entry| (entry.index, entry.value)).collect()
    }

    #[test]
    fn the_largest_are_taken_and_the_others_stay() {
        let mut values = [0.5, -3.0, 1e-30, 2.0, -0.25, 2.5];
        assert_eq!(taken(0.5, &mut values), [(1, -3.0), (3, 2.0), (5, 2.5)]);
        assert_eq!(values, [0.5, 0.0, 1e-30, 0.0, -0.25, 0.0]);
        assert_eq!(taken(0.01, &mut values), [(0, 0.5)]);
    }

    #[test]
    fn of_equal_ones_the_first_are_taken_and_zeros_never() {
        assert_eq!(taken(0.5, &mut [1.0, -1.0, 1.0, 1.0]), [(0, 1.0), (1, -1.0)]);
        assert_eq!(taken(0.5, &mut [2.0, 1.0, 1.0, 0.0]), [(0, 2.0), (1, 1.0)]);
        assert_eq!(taken(1.0, &mut [0.0, -0.0, 1.0]), [(2, 1.0)]);
        assert_eq!(taken(1.0, &mut []), []);
    }

    #[test]
    fn what_is_not_a_number_is_taken_first() {
        let entries = taken(0.25, &mut [1e30, f32::NAN, f32::MAX, 1.0]);
        assert!(entries.len() == 1 && entries[0].0 == 1 && entries[0].1.is_nan());
    }

    /// Also when a third of all values are equal.
    #[test]
    fn what_is_taken_is_what_a_sort_would_take() {
        let values: Vec<f32> = (0..1_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32 - 2_048.0)
            .map(|value| if value > 800.0 { 800.0 } else { value })
            .collect();
        let counts = [(0.0001, 1), (0.001, 1), (0.0016, 2), (0.07, 70), (0.2, 200), (1.0, 1_000)];
        for (share, count) in counts {
            let mut sorted: Vec<(u32, f32)> = (0..).zip(values.iter().copied()).collect();
            sorted.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
            sorted.truncate(count);
            sorted.retain(|entry| entry.1 != 0.0);
            sorted.sort_by_key(|entry| entry.0);
            assert_eq!(taken(share, &mut values.clone()), sorted, "share {share}");
        }
    }
}
