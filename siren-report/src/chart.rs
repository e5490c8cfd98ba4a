//! Charts as SVG: axes, series, and a row of charts in one picture.
//!
//! A [`Chart`] has two [`Axis`]es and any number of [`Series`]. It fits into a page or stands alone
//! as a file, needs no font, and shows the value of each point when the mouse rests on it. The
//! colours are those of Okabe and Ito, which colour-blind people can distinguish.
//!
//! ```
//! use siren_report::chart::{Axis, Chart, Series};
//!
//! let svg = Chart::new("Two runs", Axis::new("time", "s").from_zero(), Axis::new("loss", ""))
//!     .series(Series::line("8 workers", [(0.0, 2.3), (10.0, 0.9), (20.0, 0.4)]))
//!     .series(Series::line("32 workers", [(0.0, 2.3), (4.0, 1.0), (8.0, 0.5)]))
//!     .to_svg()?;
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), siren_core::Error>(())
//! ```

mod draw;
mod ticks;

use std::ops::Range;

use siren_core::Result;

use crate::number;

/// A chart: a title, two axes and series.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    title: String,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
}

impl Chart {
    /// A chart without series.
    pub fn new(title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { title: printable(title), x, y, series: Vec::new() }
    }

    /// Adds a series; later ones lie above earlier ones. A chart of two or more has a legend.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// The chart as one `<svg>` element.
    ///
    /// # Errors
    ///
    /// [`Other`](siren_core::ErrorKind::Other) if the plotting library fails.
    pub fn to_svg(&self) -> Result<String> {
        row(std::slice::from_ref(self))
    }
}

/// Charts side by side, as one `<svg>` element.
///
/// # Errors
///
/// [`Other`](siren_core::ErrorKind::Other) if the plotting library fails.
pub fn row(charts: &[Chart]) -> Result<String> {
    draw::row(charts)
}

/// An axis: its quantity, unit and scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    quantity: String,
    unit: String,
    log: bool,
    whole: bool,
    zero: bool,
}

impl Axis {
    /// A linear axis as long as its data; the unit may be empty.
    pub fn new(quantity: impl Into<String>, unit: impl Into<String>) -> Self {
        Self {
            quantity: printable(quantity),
            unit: printable(unit),
            log: false,
            whole: false,
            zero: false,
        }
    }

    /// Makes the scale logarithmic; values that are not positive are left out.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.log = true;
        self
    }

    /// Labels only whole numbers.
    #[must_use]
    pub fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Begins at zero, unless there are negative values or the axis is logarithmic.
    #[must_use]
    pub fn from_zero(mut self) -> Self {
        self.zero = true;
        self
    }

    /// The position of a value on the axis, if it can be drawn.
    fn position(&self, value: f64) -> Option<f64> {
        if !value.is_finite() || value.abs() > ticks::LARGEST || (self.log && value <= 0.0) {
            return None;
        }
        Some(if self.log { value.log10() } else { value })
    }

    /// The value at a position.
    fn at(&self, position: f64) -> f64 {
        if self.log { 10_f64.powf(position) } else { position }
    }

    /// The text along the axis.
    fn label(&self) -> String {
        let mut label = self.quantity.clone();
        if !self.unit.is_empty() {
            label.push_str(", ");
            label.push_str(&self.unit);
        }
        if self.log {
            label.push_str(" (log scale)");
        }
        label
    }

    /// A value with its unit.
    fn value(&self, value: f64) -> String {
        let number = if value.fract() == 0.0 && value.abs() < 1e6 {
            number::group(&value.to_string())
        } else {
            number::short(value)
        };
        match self.unit.as_str() {
            "" => number,
            unit => format!("{number} {unit}"),
        }
    }
}

/// Points that belong together, under one name. A point that is not finite is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    label: String,
    points: Vec<(f64, f64)>,
    mark: Mark,
    hover: Vec<String>,
    colour: Option<usize>,
}

/// The form in which points are drawn.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    Line,
    Dashed,
    Points,
    Bars(Range<f64>),
}

impl Series {
    /// Points joined by a line, in the order given.
    pub fn line(label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self::new(label, points, Mark::Line)
    }

    /// As [`line`](Self::line), dashed.
    pub fn dashed(label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self::new(label, points, Mark::Dashed)
    }

    /// Points alone.
    pub fn scatter(label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self::new(label, points, Mark::Points)
    }

    /// Bars that reach from `x + span.start` to `x + span.end`. Bars with the same x and the same
    /// `span.start` are stacked, in the order of their series. All others start at zero. A
    /// logarithmic axis has no zero and shows no bars.
    pub fn bars(
        label: impl Into<String>,
        span: Range<f64>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        Self::new(label, points, Mark::Bars(span))
    }

    fn new(
        label: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
        mark: Mark,
    ) -> Self {
        Self {
            label: printable(label),
            points: points.into_iter().collect(),
            mark,
            hover: Vec::new(),
            colour: None,
        }
    }

    /// Sets the text of each point, instead of the series' name and both values.
    #[must_use]
    pub fn hover(mut self, texts: impl IntoIterator<Item = String>) -> Self {
        self.hover = texts.into_iter().map(printable).collect();
        self
    }

    /// Takes the n-th colour instead of the one of the series' position.
    #[must_use]
    pub fn colour(mut self, n: usize) -> Self {
        self.colour = Some(n);
        self
    }
}

/// Text without control characters, which XML refuses.
fn printable(text: impl Into<String>) -> String {
    let text = text.into();
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        text.replace(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'), " ")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        Chart::new("Title", Axis::new("time", "s"), Axis::new("loss", ""))
    }

    #[test]
    fn a_logarithmic_axis_reaches_as_far_as_the_values() {
        let loss = Series::line("loss", [(0.0, 2.3), (1.0, 0.03), (2.0, 0.0154)]);
        let axis = Axis::new("loss", "").log();
        let svg = Chart::new("Loss", Axis::new("time", "s"), axis).series(loss).to_svg().unwrap();
        let label = |text: &str| svg.lines().any(|line| line.trim() == text);
        assert!(label("0.01") && label("0.1") && label("1") && label("10"), "{svg}");
    }

    #[test]
    fn a_chart_names_its_axes_series_and_values() {
        let svg = chart()
            .series(Series::line("first", [(0.0, 1.0), (2.0, 0.25)]))
            .series(Series::dashed("second", [(0.0, 1.0)]).hover(["a hint".into()]))
            .to_svg()
            .unwrap();
        for text in ["Title", "time, s", "loss", "first: 0.2500 at time 2 s", "second", "a hint"] {
            assert!(svg.contains(text), "{text} is missing in {svg}");
        }
    }

    #[test]
    fn text_is_escaped_wherever_it_is_shown() {
        let hostile = "</svg><script>&\u{0}";
        let svg = Chart::new(hostile, Axis::new(hostile, hostile), Axis::new(hostile, hostile))
            .series(Series::line(hostile, [(0.0, 1.0)]))
            .series(Series::bars(hostile, -0.5..0.5, [(0.0, 1.0)]).hover([hostile.into()]))
            .to_svg()
            .unwrap();
        assert!(!svg.contains("<script") && !svg.contains('\u{0}'));
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    #[test]
    fn odd_points_are_left_out_and_nothing_panics() {
        let odd = [0.0, -1.0, 1e308, -1e308, 5e-324, f64::NAN, f64::INFINITY, 3.0];
        let points: Vec<_> = odd.iter().flat_map(|x| odd.map(|y| (*x, y))).collect();
        for log in [false, true] {
            let axis = |quantity| match Axis::new(quantity, "").from_zero() {
                axis if log => axis.log(),
                axis => axis,
            };
            let all = Chart::new("", axis("x"), axis("y"))
                .series(Series::line("a", points.clone()))
                .series(Series::dashed("b", points.clone()))
                .series(Series::scatter("c", points.clone()))
                .series(Series::bars("d", -0.5..0.5, points.clone()))
                .series(Series::bars("e", f64::NAN..0.5, points.clone()));
            assert!(!all.to_svg().unwrap().contains("NaN"));
        }
        assert!(chart().to_svg().unwrap().contains("no data"));
        assert!(row(&[]).unwrap().starts_with("<svg"));
    }
}
