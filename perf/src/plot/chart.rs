//! One chart: named lines, a title, two axes, a legend.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

/// A line through points, in the order in which they are given.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// What an axis shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    title: String,
    scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    FromZero,
    Log,
    /// As `Log`, with a label at each power of two.
    Doubling,
    /// The position is 1 / (1 - quantile), on a logarithmic scale: every further nine is as far again.
    Percentiles,
}

impl Axis {
    pub fn from_zero(title: &str) -> Axis {
        Axis { title: title.to_owned(), scale: Scale::FromZero }
    }

    pub fn log(title: &str) -> Axis {
        Axis { title: title.to_owned(), scale: Scale::Log }
    }

    pub fn doubling(title: &str) -> Axis {
        Axis { title: title.to_owned(), scale: Scale::Doubling }
    }

    pub fn percentiles() -> Axis {
        Axis { title: "percentile".to_owned(), scale: Scale::Percentiles }
    }

    /// From the least to the greatest, never empty, and above 0 for a logarithm.
    fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let (least, most) =
            values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        match self.scale {
            Scale::FromZero => 0.0..(most * 1.05).max(1.0),
            Scale::Log | Scale::Doubling | Scale::Percentiles => {
                let least = if least.is_finite() { least.max(1e-3) } else { 1.0 };
                least..most.max(least * 1.01)
            }
        }
    }

    /// A logarithm's labels stand at the powers of this.
    fn base(&self) -> f64 {
        if self.scale == Scale::Doubling { 2.0 } else { 10.0 }
    }

    fn label(&self, value: f64) -> String {
        match self.scale {
            Scale::Percentiles => percentile(value),
            Scale::FromZero | Scale::Log | Scale::Doubling => number(value),
        }
    }
}

/// Draws lines into a file.
///
/// # Errors
/// When there is nothing to draw, or the file cannot be written.
pub fn chart(file: &Path, title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (across, up) = (x.range(points().map(|point| point.0)), y.range(points().map(|point| point.1)));
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    let drawn = match (x.scale, y.scale) {
        (Scale::FromZero, Scale::FromZero) => draw(&area, title, (x, across), (y, up), lines),
        (Scale::FromZero, _) => draw(&area, title, (x, across), (y, up.log_scale().base(y.base())), lines),
        (_, Scale::FromZero) => draw(&area, title, (x, across.log_scale().base(x.base())), (y, up), lines),
        _ => draw(
            &area,
            title,
            (x, across.log_scale().base(x.base())),
            (y, up.log_scale().base(y.base())),
            lines,
        ),
    };
    drawn
        .and_then(|()| area.present().map_err(|error| error.to_string()))
        .map_err(|error| anyhow!("{}: {error}", file.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw<X, Y>(
    area: &Area<'_>,
    title: &str,
    x: (&Axis, X),
    y: (&Axis, Y),
    lines: &[Line],
) -> Result<(), String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let said = |error: DrawingAreaErrorKind<_>| error.to_string();
    area.fill(&WHITE).map_err(said)?;
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(x.1, y.1)
        .map_err(said)?;
    chart
        .configure_mesh()
        .x_desc(&x.0.title)
        .y_desc(&y.0.title)
        .x_label_formatter(&|value| x.0.label(*value))
        .y_label_formatter(&|value| y.0.label(*value))
        .label_style((FONT, 13))
        .light_line_style(WHITE)
        .draw()
        .map_err(said)?;
    for (index, line) in lines.iter().enumerate() {
        let style = Palette99::pick(index).stroke_width(2);
        let series = LineSeries::new(line.points.iter().copied(), style).point_size(2);
        let drawn = chart.draw_series(series).map_err(said)?;
        drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 13))
        .draw()
        .map_err(said)
}

/// `99.9` of 1000.
fn percentile(position: f64) -> String {
    let percent = 100.0 * (1.0 - 1.0 / position.max(1.0));
    let text = format!("{percent:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `950`, `1.5k`, `20k`, `3M`.
fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// Pixels.
const SIZE: (u32, u32) = (860, 520);
const FONT: &str = "sans-serif";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short() {
        let percentiles = [1.0, 2.0, 10.0, 100.0, 1000.0, 10_000.0].map(percentile);
        assert_eq!(percentiles, ["0", "50", "90", "99", "99.9", "99.99"]);
        assert_eq!([0.0, 950.0, 1500.0, 20_000.0, 3e6].map(number), ["0", "950", "1.5k", "20k", "3M"]);
    }

    #[test]
    fn ranges_hold_all_points_and_are_never_empty() {
        assert_eq!(Axis::from_zero("").range([100.0].into_iter()), 0.0..105.0);
        assert_eq!(Axis::log("").range([4.0, 16.0].into_iter()), 4.0..16.0);
        for axis in [Axis::from_zero(""), Axis::log(""), Axis::percentiles()] {
            let range = axis.range(std::iter::empty());
            assert!(range.start < range.end && range.end.is_finite(), "{axis:?} {range:?}");
        }
    }

    #[test]
    fn a_chart_names_its_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("chart.svg");
        let line =
            |name: &str, up: f64| Line { name: name.to_owned(), points: vec![(1.0, up), (64.0, 2.0 * up)] };
        let lines = [line("relay", 100.0), line("pgweir", 120.0)];
        chart(&file, "Title", &Axis::doubling("connections"), &Axis::from_zero("queries/s"), &lines)
            .expect("drawn");
        let text = std::fs::read_to_string(&file).expect("it was written");
        for part in ["<svg", "Title", "relay", "pgweir", "queries/s", "polyline"] {
            assert!(text.contains(part), "{part}");
        }
    }
}
