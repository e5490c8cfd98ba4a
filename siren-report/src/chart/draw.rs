//! Draws charts with `plotters`, and adds a legend in a row and values on hover.

use std::collections::BTreeMap;
use std::error::Error as StdError;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use siren_core::{Error, ErrorKind, Result};

use super::ticks::Ticks;
use super::{Chart, Mark, Series};

/// Width and height of one chart, in CSS pixels.
const SIZE: (i32, i32) = (440, 285);
/// Units of the picture for each CSS pixel: plotters draws in whole units.
const UNIT: i32 = 8;
/// Sizes of text, in CSS pixels.
const TITLE: i32 = 15;
const TEXT: i32 = 12;
/// The radius of a point without a line, in units of the picture.
const POINT: i32 = 4 * UNIT;
/// More points than this are drawn smaller, and without dots on their line.
const DOTS: usize = 60;

const INK: RGBColor = RGBColor(0x22, 0x26, 0x2B);
const FAINT: RGBColor = RGBColor(0x5B, 0x63, 0x6E);
const GRID: RGBColor = RGBColor(0xDF, 0xE3, 0xE8);
/// Okabe and Ito's colours, the darker ones first.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x9A, 0xA1, 0xAB),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A place that shows a text when the mouse rests on it; in units of the picture.
struct Hover {
    x: i32,
    y: i32,
    /// Half of the width and of the height.
    half: (i32, i32),
    text: String,
}

pub(super) fn row(charts: &[Chart]) -> Result<String> {
    let count = charts.len().max(1);
    let (width, height) = (SIZE.0.saturating_mul(count as i32), SIZE.1);
    let mut drawn = String::new();
    let mut hovers = Vec::new();
    {
        let size = ((width * UNIT) as u32, (height * UNIT) as u32);
        let root = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        for (chart, area) in charts.iter().zip(root.split_evenly((1, count))) {
            draw(chart, &area, &mut hovers)?;
        }
        root.present().map_err(failed)?;
    }
    // The <svg> of plotters has no name for screen readers, and its size is in our units.
    let inner = drawn
        .split_once('>')
        .and_then(|(_, rest)| rest.rsplit_once("</svg>"))
        .map_or("", |(inner, _)| inner);
    let titles: Vec<&str> = charts.iter().map(|chart| chart.title.as_str()).collect();
    Ok(html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox={ "0 0 " (width * UNIT) " " (height * UNIT) }
            role="img" aria-label={ "Chart: " (titles.join("; ")) }
            stroke-linejoin="round" stroke-linecap="round" {
            (PreEscaped(inner))
            @for hover in &hovers { (hover.markup()) }
        }
    }
    .into_string())
}

impl Hover {
    fn markup(&self) -> Markup {
        html! {
            rect x=(self.x - self.half.0) y=(self.y - self.half.1)
                width=(self.half.0 * 2) height=(self.half.1 * 2)
                class="hover" fill="transparent" { title { (self.text) } }
        }
    }
}

fn draw(chart: &Chart, area: &Area<'_>, hovers: &mut Vec<Hover>) -> Result<()> {
    area.draw_text(&chart.title, &text(TITLE, &INK, FontStyle::Bold), px(14, 10))
        .map_err(failed)?;
    let top = 40 + legend(chart, area, 36)?;

    let shapes: Vec<Vec<Shape>> = shapes(chart);
    let edges = || shapes.iter().flatten();
    let y = Ticks::new(
        &chart.y,
        edges().flat_map(|shape| [shape.low, shape.high].map(|at| chart.y.at(at))),
        5,
        true,
    );
    // Without a font, a digit is taken to be 0.6 of its height wide.
    let labels = 34 + y.longest() as i32 * TEXT * 6 / 10;
    let (left, right) = (4 + labels, 22);
    let x = |wanted| {
        let values = edges().flat_map(|shape| [shape.left, shape.right].map(|at| chart.x.at(at)));
        Ticks::new(&chart.x, values, wanted, false)
    };
    let fits = |x: &Ticks| {
        x.labels() * (x.longest() + 2) * TEXT as usize * 6 / 10 <= (SIZE.0 - left - right) as usize
    };
    let x = [8, 6, 4].into_iter().map(x).find(fits).unwrap_or_else(|| x(2));

    let mut context = ChartBuilder::on(area)
        .margin_top(top * UNIT)
        .margin_right(right * UNIT)
        .margin_bottom(6 * UNIT)
        .margin_left(4 * UNIT)
        .x_label_area_size(42 * UNIT)
        .y_label_area_size(labels * UNIT)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    context
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(UNIT as u32))
        .axis_style(FAINT.stroke_width(UNIT as u32))
        .set_all_tick_mark_size(4 * UNIT)
        .label_style(text(TEXT, &FAINT, FontStyle::Normal))
        .axis_desc_style(text(TEXT, &INK, FontStyle::Normal))
        .x_desc(chart.x.label())
        .y_desc(chart.y.label())
        .draw()
        .map_err(failed)?;

    if edges().next().is_none() {
        let (columns, rows) = context.plotting_area().get_pixel_range();
        let (left, above) = area.get_base_pixel();
        let middle =
            ((columns.start + columns.end) / 2 - left, (rows.start + rows.end) / 2 - above);
        let style = text(TEXT, &FAINT, FontStyle::Normal).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw_text("no data", &style, middle).map_err(failed)?;
    }

    for (n, (series, shapes)) in chart.series.iter().zip(&shapes).enumerate() {
        let colour = colour(series, n);
        let line = colour.stroke_width(2 * UNIT as u32);
        let points = || shapes.iter().map(|shape| (shape.right, shape.high));
        let mut radius = 3 * UNIT;
        match &series.mark {
            Mark::Line => {
                context.draw_series(LineSeries::new(points(), line)).map_err(failed)?;
            }
            Mark::Dashed => {
                let dashes =
                    DashedLineSeries::new(points(), 5 * UNIT as u32, 5 * UNIT as u32, line);
                context.draw_series(dashes).map_err(failed)?;
            }
            Mark::Points if shapes.len() <= DOTS => radius = POINT,
            Mark::Points => radius = POINT / 2,
            Mark::Bars(_) => {
                let bars = shapes.iter().map(|shape| {
                    Rectangle::new(
                        [(shape.left, shape.high), (shape.right, shape.low)],
                        colour.filled(),
                    )
                });
                context.draw_series(bars).map_err(failed)?;
            }
        }
        let bars = matches!(series.mark, Mark::Bars(_));
        if !bars && (shapes.len() <= DOTS || series.mark == Mark::Points) {
            let dots = points().map(|at| Circle::new(at, radius, colour.filled()));
            context.draw_series(dots).map_err(failed)?;
        }
        for shape in shapes {
            let (left, top) = context.backend_coord(&(shape.left, shape.high));
            let (right, bottom) = context.backend_coord(&(shape.right, shape.low));
            // A small target is made larger, so that a mouse can hit it.
            let least = if bars { UNIT } else { 7 * UNIT };
            hovers.push(Hover {
                x: (left + right) / 2,
                y: (top + bottom) / 2,
                half: (((right - left) / 2).max(least), ((bottom - top) / 2).max(least)),
                text: shape.text(chart, series),
            });
        }
    }
    Ok(())
}

/// The names of two or more series in rows from `top` on; returns the height, in CSS pixels.
fn legend(chart: &Chart, area: &Area<'_>, top: i32) -> Result<i32> {
    if chart.series.len() < 2 {
        return Ok(0);
    }
    let (mut x, mut y) = (14, top + 8);
    for (n, series) in chart.series.iter().enumerate() {
        let width = 27 + series.label.chars().count() as i32 * TEXT * 58 / 100;
        if x > 14 && x + width > SIZE.0 - 10 {
            (x, y) = (14, y + 18);
        }
        let colour = colour(series, n);
        let pieces: &[(i32, i32, i32)] = match series.mark {
            Mark::Line => &[(0, 14, 1)],
            Mark::Dashed => &[(0, 5, 1), (9, 14, 1)],
            Mark::Points => &[],
            Mark::Bars(_) => &[(1, 13, 5)],
        };
        for (from, to, half) in pieces {
            let corners = [px(x + from, y - half), px(x + to, y + half)];
            area.draw(&Rectangle::new(corners, colour.filled())).map_err(failed)?;
        }
        if series.mark == Mark::Points {
            area.draw(&Circle::new(px(x + 8, y), POINT, colour.filled())).map_err(failed)?;
        }
        let style = text(TEXT, &INK, FontStyle::Normal).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw_text(&series.label, &style, px(x + 19, y)).map_err(failed)?;
        x += width + 8;
    }
    Ok(y - top + 14)
}

/// The shape of one point, by positions on the axes; they are equal unless it is a bar.
struct Shape {
    left: f64,
    right: f64,
    low: f64,
    high: f64,
    point: usize,
}

impl Shape {
    fn text(&self, chart: &Chart, series: &Series) -> String {
        let (x, y) = series.points[self.point];
        series.hover.get(self.point).cloned().unwrap_or_else(|| {
            format!(
                "{}: {} at {} {}",
                series.label,
                chart.y.value(y),
                chart.x.quantity,
                chart.x.value(x)
            )
        })
    }
}

/// The shapes of each series, bars stacked.
fn shapes(chart: &Chart) -> Vec<Vec<Shape>> {
    let mut stacks: BTreeMap<(u64, u64), f64> = BTreeMap::new();
    let mut one = |series: &Series, point: usize| {
        let (x, y) = series.points[point];
        let (left, right, low, high) = match &series.mark {
            Mark::Bars(span) => {
                let base = stacks.entry((x.to_bits(), span.start.to_bits())).or_insert(0.0);
                let low = *base;
                *base += if y.is_finite() { y } else { 0.0 };
                (x + span.start, x + span.end, low, low + y)
            }
            _ => (x, x, y, y),
        };
        Some(Shape {
            left: chart.x.position(left)?,
            right: chart.x.position(right)?,
            low: chart.y.position(low)?,
            high: chart.y.position(high)?,
            point,
        })
    };
    let series = chart.series.iter();
    series
        .map(|series| (0..series.points.len()).filter_map(|point| one(series, point)).collect())
        .collect()
}

fn colour(series: &Series, place: usize) -> RGBColor {
    PALETTE[series.colour.unwrap_or(place) % PALETTE.len()]
}

/// Text of a size in CSS pixels: plotters' sizes are heights of a line, 1.24 times those of SVG.
fn text(size: i32, colour: &RGBColor, style: FontStyle) -> TextStyle<'static> {
    let font: FontDesc<'static> = ("sans-serif", f64::from(size * UNIT) * 1.24, style).into();
    font.color(colour)
}

/// A place given in CSS pixels.
fn px(x: i32, y: i32) -> (i32, i32) {
    (x * UNIT, y * UNIT)
}

fn failed(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Other, "cannot draw the chart").with_source(error)
}
