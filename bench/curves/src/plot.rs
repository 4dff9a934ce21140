//! A group of runs as SVG: three panels side by side, one line for each server.
//!
//! Invariants: the same runs give the same file, byte for byte; the ground is the image's own, so
//! that it reads alike on light and dark pages; a rate with which a server did not keep up is an
//! open mark.

use std::fmt::{Arguments, Write as _};

use crate::runs::{Group, Point, ServerCurve};
use crate::scale::{LogScale, short};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 372.0;
/// Of the plotted part of a panel.
const PANEL_WIDTH: f64 = 256.0;
const PANEL_HEIGHT: f64 = 220.0;
const PANEL_TOP: f64 = 68.0;
const FIRST_LEFT: f64 = 48.0;
/// From one panel's left edge to the next one's.
const PANEL_STEP: f64 = 318.0;
const LEGEND_TOP: f64 = 352.0;
const LEGEND_STEP: f64 = 130.0;
/// Labels of rates that stand closer together would run into each other.
const LABEL_WIDTH: f64 = 24.0;
const MARK_RADIUS: f64 = 3.5;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#424a53}\
.title{font-weight:600;font-size:15px;fill:#1f2328}.name{font-weight:600;fill:#1f2328}\
.frame{stroke:#d0d7de;fill:none}.grid{stroke:#eaeef2}.line{fill:none;stroke-width:1.8}\
.own{stroke-width:3}";

/// The colours of Okabe and Ito, which people with any sight of colours can tell apart.
const COLOURS: [(&str, &str); 5] = [
    ("vidette", "#0072b2"),
    ("nchan", "#d55e00"),
    ("centrifugo", "#009e73"),
    ("naive", "#8c959f"),
    ("tonic", "#cc79a7"),
];
const OTHER_COLOUR: &str = "#1f2328";

type Figure = fn(&Point) -> f64;

struct Panel {
    title: &'static str,
    figure: Figure,
    left: f64,
    x: LogScale,
    y: LogScale,
}

pub(crate) fn svg(group: &Group) -> String {
    let title = group.title();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n"
    );
    push(
        &mut svg,
        format_args!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"#fff\"/>"),
    );
    text(
        &mut svg,
        (WIDTH / 2.0, 26.0),
        "middle\" class=\"title",
        &title,
    );
    for panel in panels(group) {
        panel.push(&mut svg, group);
    }
    push_legend(&mut svg, group);
    svg + "</svg>\n"
}

fn panels(group: &Group) -> [Panel; 3] {
    let figures: [(&str, Figure); 3] = [
        ("latency p50, ms", |point| point.p50_ms),
        ("latency p99, ms", |point| point.p99_ms),
        ("CPU of the whole machine, cores", |point| point.cores),
    ];
    let mut left = FIRST_LEFT - PANEL_STEP;
    figures.map(|(title, figure)| {
        left += PANEL_STEP;
        Panel {
            title,
            figure,
            left,
            x: LogScale::around(group.points().map(|point| point.rate)),
            y: LogScale::around(group.points().map(figure)),
        }
    })
}

impl Panel {
    fn push(&self, svg: &mut String, group: &Group) {
        text(
            svg,
            (self.left, PANEL_TOP - 10.0),
            "start\" class=\"name",
            self.title,
        );
        self.push_grid(svg, &rates(group));
        let (left, bottom) = (self.left, PANEL_TOP + PANEL_HEIGHT);
        push(
            svg,
            format_args!(
                "<rect class=\"frame\" x=\"{left}\" y=\"{PANEL_TOP}\" width=\"{PANEL_WIDTH}\" \
                 height=\"{PANEL_HEIGHT}\"/>"
            ),
        );
        let middle = left + PANEL_WIDTH / 2.0;
        text(svg, (middle, bottom + 34.0), "middle", "events a second");

        // vidette comes last, so that its line is on top of the others.
        let (own, others): (Vec<_>, Vec<_>) = group.servers.iter().partition(|s| is_own(s));
        for curve in others.into_iter().chain(own) {
            self.push_curve(svg, curve);
        }
    }

    /// A line for each rate that was measured, and for each step of the figure.
    fn push_grid(&self, svg: &mut String, rates: &[f64]) {
        let (left, right) = (self.left, self.left + PANEL_WIDTH);
        let bottom = PANEL_TOP + PANEL_HEIGHT;
        let mut free_from = f64::NEG_INFINITY;
        for rate in rates {
            let x = self.x_of(*rate);
            push(
                svg,
                format_args!("<path class=\"grid\" d=\"M{x:.1} {PANEL_TOP}V{bottom}\"/>"),
            );
            if x >= free_from {
                text(svg, (x, bottom + 16.0), "middle", &short(*rate));
                free_from = x + LABEL_WIDTH;
            }
        }
        for (tick, has_label) in self.y.ticks() {
            let y = self.y_of(tick);
            push(
                svg,
                format_args!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>"),
            );
            if has_label {
                text(svg, (left - 6.0, y + 4.0), "end", &short(tick));
            }
        }
    }

    fn push_curve(&self, svg: &mut String, curve: &ServerCurve) {
        let (colour, class) = (colour(&curve.server), class(curve));
        let mut path = String::new();
        for point in &curve.points {
            let (x, y) = self.at(point);
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}"); // a string takes everything
        }
        push(
            svg,
            format_args!("<path class=\"{class}\" stroke=\"{colour}\" d=\"{path}\"/>"),
        );
        for point in &curve.points {
            push_mark(svg, self.at(point), colour, point.holds);
        }
    }

    fn at(&self, point: &Point) -> (f64, f64) {
        (self.x_of(point.rate), self.y_of((self.figure)(point)))
    }

    fn x_of(&self, rate: f64) -> f64 {
        self.left + self.x.part(rate) * PANEL_WIDTH
    }

    fn y_of(&self, figure: f64) -> f64 {
        PANEL_TOP + (1.0 - self.y.part(figure)) * PANEL_HEIGHT
    }
}

/// All rates that were measured, from the lowest.
fn rates(group: &Group) -> Vec<f64> {
    let mut rates: Vec<f64> = group.points().map(|point| point.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    rates
}

fn push_legend(svg: &mut String, group: &Group) {
    let mut left = FIRST_LEFT;
    for curve in &group.servers {
        let (colour, class) = (colour(&curve.server), class(curve));
        let end = left + 28.0;
        push(
            svg,
            format_args!(
                "<path class=\"{class}\" stroke=\"{colour}\" d=\"M{left} {LEGEND_TOP}H{end}\"/>"
            ),
        );
        push_mark(svg, (left + 14.0, LEGEND_TOP), colour, true);
        text(svg, (end + 8.0, LEGEND_TOP + 4.0), "start", &curve.server);
        left += LEGEND_STEP;
    }
    if group.points().any(|point| !point.holds) {
        push_mark(svg, (left + 14.0, LEGEND_TOP), OTHER_COLOUR, false);
        text(
            svg,
            (left + 26.0, LEGEND_TOP + 4.0),
            "start",
            "does not keep up",
        );
    }
}

fn push_mark(svg: &mut String, (x, y): (f64, f64), colour: &str, is_filled: bool) {
    let fill = if is_filled { colour } else { "#fff" };
    push(
        svg,
        format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{MARK_RADIUS}\" fill=\"{fill}\" \
             stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        ),
    );
}

fn is_own(curve: &ServerCurve) -> bool {
    curve.server == "vidette"
}

fn class(curve: &ServerCurve) -> &'static str {
    if is_own(curve) { "line own" } else { "line" }
}

fn colour(server: &str) -> &'static str {
    let found = COLOURS.iter().find(|(name, _)| *name == server);
    found.map_or(OTHER_COLOUR, |(_, colour)| colour)
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    push(
        svg,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"),
    );
}

fn push(svg: &mut String, element: Arguments) {
    let _ = writeln!(svg, "{element}"); // a string takes everything
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_with_which_a_server_did_not_keep_up_is_an_open_mark() {
        let point = |rate, holds| Point {
            rate,
            holds,
            p50_ms: 1.0,
            p99_ms: 2.0,
            cores: 0.5,
        };
        let group = |holds| Group {
            transport: "sse".to_owned(),
            readers: 100,
            servers: vec![ServerCurve {
                server: "nchan".to_owned(),
                points: vec![point(1.0, true), point(10.0, holds)],
            }],
        };
        let open = |svg: &str| svg.matches("fill=\"#fff\" stroke").count();
        let (all_hold, one_fails) = (svg(&group(true)), svg(&group(false)));
        assert_eq!(open(&all_hold), 0);
        assert_eq!(open(&one_fails), 4, "one in each panel, and the legend's");
        assert!(one_fails.contains("does not keep up"));
        assert!(!all_hold.contains("does not keep up") && !all_hold.contains("NaN"));
    }
}
