//! The ends of an axis, and its labelled values.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::prelude::Ranged;

use super::Axis;
use crate::number;

/// Values beyond this are not drawn, so that no sum of two overflows.
pub(super) const LARGEST: f64 = 1e300;

/// An axis with its data. Positions are linear in pixels.
#[derive(Debug)]
pub(super) struct Ticks {
    /// The positions between which the axis runs.
    range: Range<f64>,
    /// The labelled positions, ascending, and their labels.
    labelled: Vec<(f64, String)>,
}

impl Ticks {
    /// Finds ends and labels, about `wanted` of them, for an axis with these values; `snap` moves
    /// the ends to labels.
    pub(super) fn new(
        axis: &Axis,
        values: impl Iterator<Item = f64>,
        wanted: u32,
        snap: bool,
    ) -> Self {
        let ends =
            values.filter(|value| axis.position(*value).is_some()).fold(None, |ends, value| {
                match ends {
                    None => Some((value, value)),
                    Some((low, high)) => Some((value.min(low), value.max(high))),
                }
            });
        match ends {
            Some((low, high)) if axis.log => Self::log(low, high, wanted),
            _ if axis.log => Self::log(1.0, 10.0, wanted),
            Some((low, high)) => Self::linear(axis, low, high, wanted, snap),
            None => Self::linear(axis, 0.0, 1.0, wanted, snap),
        }
    }

    /// The number of labels.
    pub(super) fn labels(&self) -> usize {
        self.labelled.len()
    }

    /// The number of characters of the longest label.
    pub(super) fn longest(&self) -> usize {
        let lengths = self.labelled.iter().map(|(_, label)| label.chars().count());
        lengths.max().unwrap_or(0)
    }

    fn linear(axis: &Axis, mut low: f64, mut high: f64, wanted: u32, snap: bool) -> Self {
        if axis.zero {
            low = low.min(0.0);
            high = high.max(0.0);
        }
        let size = low.abs().max(high.abs());
        if axis.whole && !snap {
            // Room for a bar at the first and at the last number.
            low = low.min((low + 0.5).floor() - 0.5);
            high = high.max((high - 0.5).ceil() + 0.5);
        }
        // A flat line lies in the middle; seven digits tell two labels apart.
        if high - low <= size * 1e-6 || high - low < 1e-290 {
            if size < 1e-290 {
                high = low + 1.0;
            } else {
                (low, high) = (low - size * 0.1, high + size * 0.1);
            }
        }
        let step = step(high - low, wanted, axis.whole);
        if snap {
            low = (low / step + 1e-9).floor() * step;
            high = (high / step - 1e-9).ceil() * step;
        }
        let first = (low / step - 1e-9).ceil();
        let labelled = (0..=u32::from(u8::MAX))
            .map(|n| (first + f64::from(n)) * step)
            .take_while(|at| *at <= high + step * 1e-6)
            .map(|at| (at, label(at, step, size)))
            .collect();
        Self { range: low..high, labelled }
    }

    fn log(low: f64, high: f64, wanted: u32) -> Self {
        let (low, high) = (low.log10(), high.log10());
        let (mut first, mut last) = ((low + 1e-9).floor(), (high - 1e-9).ceil());
        if last <= first {
            (first, last) = (first - 1.0, first + 1.0);
        }
        let decades = last - first;
        let stride = (decades / f64::from(wanted.max(1))).ceil().max(1.0);
        let between: &[f64] = match decades as u32 {
            0..=2 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let labelled = (0..=u32::from(u8::MAX))
            .map(|n| first + f64::from(n) * stride)
            .take_while(|decade| *decade <= last)
            .flat_map(|decade| between.iter().map(move |digit| decade + digit.log10()))
            .filter(|at| *at <= last + 1e-9)
            .map(|at| (at, power(at)))
            .collect();
        Self { range: first..last, labelled }
    }
}

impl Ranged for Ticks {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, position: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (position - self.range.start) / (self.range.end - self.range.start);
        first + (f64::from(last - first) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.labelled.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Ticks {
    fn format_ext(&self, position: &f64) -> String {
        self.labelled
            .iter()
            .find(|(at, _)| at == position)
            .map_or_else(String::new, |(_, label)| label.clone())
    }
}

/// The smallest of 1, 2, 5 times a power of ten that cuts `span` into at most `wanted` pieces.
fn step(span: f64, wanted: u32, whole: bool) -> f64 {
    let least = span / f64::from(wanted.max(1));
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * (1.0 - 1e-9))
        .unwrap_or(power * 10.0);
    if whole { step.max(1.0) } else { step }
}

/// A label with as many decimals as its step needs.
fn label(at: f64, step: f64, size: f64) -> String {
    let at = if at.abs() < step * 0.5 { 0.0 } else { at };
    let exponent = step.log10().floor() as i32;
    if size >= 1e6 || exponent < -5 {
        if at == 0.0 {
            return "0".into();
        }
        let digits = (at.abs().log10().floor() as i32 - exponent).clamp(0, 8) as usize;
        return format!("{at:.digits$e}");
    }
    let decimals = (-exponent).max(0) as usize;
    number::group(&format!("{at:.decimals$}"))
}

/// The label of a position on a logarithmic axis.
fn power(at: f64) -> String {
    let value = 10_f64.powf(at);
    if (-4.0..6.0).contains(&at) {
        let decimals = (-(at + 1e-9).floor()).max(0.0) as usize;
        number::group(&format!("{value:.decimals$}"))
    } else {
        format!("{value:.0e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64], snap: bool) -> Vec<String> {
        let ticks = Ticks::new(axis, values.iter().copied(), 5, snap);
        ticks.labelled.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn labels_are_round_and_cover_the_data() {
        let axis = Axis::new("loss", "");
        assert_eq!(labels(&axis, &[0.31, 2.3], true), ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]);
        assert_eq!(labels(&axis, &[0.0, 14_000.0], false), ["0", "5000", "10,000"]);
    }

    #[test]
    fn whole_axes_have_whole_labels_for_1_3_and_300_epochs() {
        let axis = Axis::new("epoch", "").whole();
        assert_eq!(labels(&axis, &[-0.5, 0.5], false), ["0"]);
        assert_eq!(labels(&axis, &[-0.5, 2.5], false), ["0", "1", "2"]);
        assert_eq!(labels(&axis, &[-0.5, 299.5], false), ["0", "100", "200"]);
    }

    #[test]
    fn decades_label_a_logarithmic_axis() {
        let axis = Axis::new("cost", "$").log();
        assert_eq!(labels(&axis, &[0.002, 0.5, -1.0], true), ["0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels(&axis, &[3.0], true), ["1", "2", "5", "10"]);
        assert!(labels(&axis, &[1e-200, 1e200], true).len() < 8);
    }

    #[test]
    fn no_values_are_too_odd_for_an_axis() {
        let odd =
            [0.0, -0.0, 1.0, 1.0 + 1e-15, -1e299, 1e299, 5e-324, 1e-300, f64::NAN, f64::INFINITY];
        for axis in
            [Axis::new("x", ""), Axis::new("x", "").log(), Axis::new("x", "").whole().from_zero()]
        {
            for first in odd {
                for second in odd {
                    let ticks = Ticks::new(&axis, [first, second].into_iter(), 5, true);
                    assert!(ticks.range.start < ticks.range.end, "{first} {second} {ticks:?}");
                    assert!(ticks.range.start.is_finite() && ticks.range.end.is_finite());
                    assert!(!ticks.labelled.is_empty(), "{first} {second} {ticks:?}");
                }
            }
        }
    }
}
