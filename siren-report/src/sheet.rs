//! Your own page: headings, text, tables and charts, with the style of a run's page.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use siren_core::{Result, file};

use crate::chart::{self, Chart};
use crate::page::STYLE;

/// A self-contained HTML page, made part by part.
///
/// ```
/// use siren_report::Sheet;
/// let page = Sheet::new("Two platforms")
///     .text("Time until the target loss.")
///     .table(["platform", "time"], [["functions", "20 s"], ["a machine", "30 s"]])
///     .to_html();
/// assert!(page.contains("<td>a machine</td>"));
/// ```
#[derive(Clone, Debug)]
pub struct Sheet {
    title: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Heading(String),
    Text(String),
    Table { header: Vec<String>, rows: Vec<Vec<String>> },
    Svg(String),
}

impl Sheet {
    /// A page with a title.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), parts: Vec::new() }
    }

    fn with(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// Adds a heading.
    #[must_use]
    pub fn heading(self, text: impl Into<String>) -> Self {
        self.with(Part::Heading(text.into()))
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with(Part::Text(text.into()))
    }

    /// Adds a table. All columns after the first are aligned as numbers.
    #[must_use]
    pub fn table<H, R>(
        self,
        header: impl IntoIterator<Item = H>,
        rows: impl IntoIterator<Item = R>,
    ) -> Self
    where
        H: Into<String>,
        R: IntoIterator,
        R::Item: Into<String>,
    {
        let header = header.into_iter().map(Into::into).collect();
        let rows = rows.into_iter().map(|row| row.into_iter().map(Into::into).collect()).collect();
        self.with(Part::Table { header, rows })
    }

    /// Adds charts, side by side.
    ///
    /// # Errors
    ///
    /// [`Other`](siren_core::ErrorKind::Other) if one cannot be drawn.
    pub fn charts(self, charts: &[Chart]) -> Result<Self> {
        Ok(self.with(Part::Svg(chart::row(charts)?)))
    }

    /// The page.
    pub fn to_html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    link rel="icon" href="data:,";
                    title { (self.title) " · Siren" }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header { p .kind { "Siren" } h1 { (self.title) } }
                    main { section { @for part in &self.parts { (part.to_markup()) } } }
                    footer { "Written by Siren." }
                }
            }
        };
        page.into_string()
    }

    /// Writes the page to `path`, in one step.
    ///
    /// # Errors
    ///
    /// [`Other`](siren_core::ErrorKind::Other) if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let page = self.to_html();
        file::replace(path.as_ref(), |to| to.write_all(page.as_bytes()))
    }
}

impl Part {
    fn to_markup(&self) -> Markup {
        match self {
            Self::Heading(text) => html! { h2 { (text) } },
            Self::Text(text) => html! { p .facts { (text) } },
            Self::Svg(svg) => html! { figure { (PreEscaped(svg)) } },
            Self::Table { header, rows } => html! {
                div .scroll {
                    table .sheet {
                        thead { tr { @for cell in header { th scope="col" { (cell) } } } }
                        tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, Series};

    #[test]
    fn a_page_has_its_parts_in_order_and_escapes_text() {
        let chart = Chart::new("Loss", Axis::new("time", "s"), Axis::new("loss", ""))
            .series(Series::line("a", [(0.0, 1.0), (1.0, 0.5)]));
        let page = Sheet::new("<b>")
            .heading("First")
            .text("a < b")
            .table(["x", "y"], [["1", "2"]])
            .charts(&[chart])
            .unwrap()
            .to_html();
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is missing"));
        assert!(at("&lt;b&gt;") < at("First") && at("First") < at("a &lt; b"));
        assert!(at("a &lt; b") < at("<td>2</td>") && at("<td>2</td>") < at("<svg"));
    }
}
