//! Line charts as SVG, readable on light and on dark pages.
//!
//! Invariant: the same lines give the same file, byte for byte.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
/// Above the label of the axis; the names of the lines are below it.
const BOTTOM: f64 = 50.0;
const NAME_LINE: f64 = 18.0;
/// Points of one line; more are thinned out to those that stand out.
const POINTS: usize = 400;

const STYLE: &str = ".back{fill:#fff}text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold;font-size:14px}\
.frame{stroke:#8c959f;fill:none}.grid{stroke:#8c959f;stroke-opacity:.3}\
.line{fill:none;stroke-width:2}.c0{stroke:#0969da}.c1{stroke:#cf222e}.c2{stroke:#1a7f37}\
.c3{stroke:#9a6700}.c4{stroke:#8250df}\
@media (prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#e6edf3}.c0{stroke:#58a6ff}.c1{stroke:#ff7b72}\
.c2{stroke:#3fb950}.c3{stroke:#d29922}.c4{stroke:#bc8cff}}";

/// How far apart values are on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// An axis: what it is, and which part of it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Axis {
    pub(crate) fn linear(label: &'static str, to: f64) -> Self {
        Axis {
            label,
            scale: Scale::Linear,
            from: 0.0,
            to: rounded_up(to),
        }
    }

    pub(crate) fn logarithmic(label: &'static str, from: f64, to: f64) -> Self {
        Axis {
            label,
            scale: Scale::Logarithmic,
            from,
            to,
        }
    }

    /// Where a value is, from 0 to 1.
    fn part(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
        }
    }

    /// A logarithmic axis has no place for what lies beyond its ends.
    fn shows(&self, value: f64) -> bool {
        self.scale == Scale::Linear || (self.from..=self.to * 1.001).contains(&value)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.scale == Scale::Linear {
            return (0..=5).map(|n| self.to * f64::from(n) / 5.0).collect();
        }
        let first = self.from.log10().ceil() as i32;
        let last = self.to.log10().floor() as i32;
        (first..=last).map(|power| 10f64.powi(power)).collect()
    }
}

/// The next number that is 1, 2, 2.5, 4 or 5 with zeros.
fn rounded_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 2.5, 4.0, 5.0, 10.0];
    let step = steps.iter().find(|step| *step * power >= value * 0.999);
    step.unwrap_or(&10.0) * power
}

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

impl Chart {
    pub(crate) fn svg(&self) -> String {
        let height = HEIGHT + NAME_LINE * self.lines.len() as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n",
            escaped(self.title)
        );
        // A page may be light where its reader prefers dark ones: the ground is the chart's own.
        push(
            &mut svg,
            format_args!("<rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\"/>"),
        );
        text(
            &mut svg,
            WIDTH / 2.0,
            20.0,
            "middle\" class=\"title",
            self.title,
        );
        self.push_axes(&mut svg);
        for (index, line) in self.lines.iter().enumerate() {
            self.push_line(&mut svg, index, line);
        }
        svg + "</svg>\n"
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let left = LEFT + self.x.part(x) * (WIDTH - LEFT - RIGHT);
        let top = HEIGHT - BOTTOM - self.y.part(y) * (HEIGHT - BOTTOM - TOP);
        (left, top)
    }

    fn push_axes(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.x.ticks() {
            let (x, _) = self.at((tick, self.y.from));
            push(
                svg,
                format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>"),
            );
            text(svg, x, bottom + 16.0, "middle", &short(tick));
        }
        for tick in self.y.ticks() {
            let (_, y) = self.at((self.x.from, tick));
            push(
                svg,
                format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"),
            );
            text(svg, LEFT - 6.0, y + 4.0, "end", &short(tick));
        }
        let (width, height) = (right - LEFT, bottom - TOP);
        push(
            svg,
            format_args!(
                "<rect class=\"frame\" x=\"{LEFT}\" y=\"{TOP}\" width=\"{width}\" height=\"{height}\"/>"
            ),
        );
        text(
            svg,
            f64::midpoint(LEFT, right),
            bottom + 36.0,
            "middle",
            self.x.label,
        );
        text(svg, LEFT, TOP - 8.0, "start", self.y.label);
    }

    fn push_line(&self, svg: &mut String, index: usize, line: &Line) {
        let mut path = String::new();
        for point in thinned(&line.points) {
            if !self.x.shows(point.0) || !self.y.shows(point.1) {
                continue;
            }
            let (x, y) = self.at(point);
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        push(
            svg,
            format_args!("<path class=\"line c{index}\" d=\"{path}\"/>"),
        );
        let y = HEIGHT + NAME_LINE * index as f64;
        let (from, to) = (LEFT, LEFT + 24.0);
        push(
            svg,
            format_args!("<path class=\"line c{index}\" d=\"M{from} {y}H{to}\"/>"),
        );
        text(svg, to + 8.0, y + 4.0, "start", &line.name);
    }
}

/// The highest and the lowest of some points each, where there are too many.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let together = points.len().div_ceil(POINTS / 2).max(1);
    if together < 3 {
        return points.to_vec();
    }
    let mut kept = Vec::new();
    for some in points.chunks(together) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = [some.iter().min_by(by_value), some.iter().max_by(by_value)];
        let mut ends: Vec<_> = ends.into_iter().flatten().copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        kept.extend(ends);
    }
    kept
}

/// `250k`, `1.5M`, `0.25`.
fn short(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let unit = units.into_iter().find(|(unit, _)| value >= *unit);
    let (unit, name) = unit.unwrap_or((1.0, ""));
    let rounded = (value / unit * 1000.0).round() / 1000.0;
    format!("{rounded}{name}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = escaped(words);
    push(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"),
    );
}

fn push(svg: &mut String, element: std::fmt::Arguments) {
    let _ = writeln!(svg, "{element}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number_and_says_it_shortly() {
        let ends = [0.7, 1.0, 130.0, 21_000.0].map(|to| short(rounded_up(to)));
        assert_eq!(ends, ["1", "1", "200", "25k"]);
        let texts = [250_000.0, 1_500_000.0, 0.25, 0.0].map(short);
        assert_eq!(texts, ["250k", "1.5M", "0.25", "0"]);
    }

    #[test]
    fn thinning_keeps_what_stands_out() {
        let mut points: Vec<_> = (0..10_000).map(|x| (f64::from(x), 1.0)).collect();
        points[4321].1 = 9.0;
        let kept = thinned(&points);
        assert!(kept.len() <= POINTS, "{}", kept.len());
        assert!(kept.contains(&(4321.0, 9.0)));
    }

    #[test]
    fn a_value_is_where_its_axis_has_it() {
        let axis = Axis::logarithmic("", 1.0, 100.0);
        assert!((axis.part(10.0) - 0.5).abs() < 1e-9);
        assert!((Axis::linear("", 10.0).part(2.5) - 0.25).abs() < 1e-9);
    }
}
