//! Logarithmic axes.

/// A part of a logarithmic axis, between numbers of the form 1, 2 or 5 with zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LogScale {
    from: f64,
    to: f64,
}

const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
/// An axis that spans more decades has labels at whole decades only.
const DENSE_DECADES: f64 = 2.05;
/// Values are seldom equal to a step to the last bit.
const CLOSE: f64 = 1e-9;

impl LogScale {
    /// The shortest scale that shows all of these.
    pub(crate) fn around(values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        if !(low > 0.0 && low.is_finite()) {
            (low, high) = (1.0, 10.0);
        }
        let from = steps_around(low)
            .filter(|step| *step <= low * (1.0 + CLOSE))
            .last();
        let to = steps_around(high).find(|step| *step >= high * (1.0 - CLOSE));
        let (from, to) = (from.unwrap_or(low), to.unwrap_or(high));

        // A single value still needs an axis with two ends.
        let to = if to > from { to } else { from * 10.0 };
        LogScale { from, to }
    }

    /// Where a value is, from 0 to 1.
    pub(crate) fn part(self, value: f64) -> f64 {
        (value / self.from).ln() / (self.to / self.from).ln()
    }

    /// Values with a line, and whether it has a label.
    pub(crate) fn ticks(self) -> Vec<(f64, bool)> {
        let is_dense = (self.to / self.from).log10() <= DENSE_DECADES;
        let (first, last) = (exponent(self.from), exponent(self.to));
        let mut ticks = Vec::new();
        for power in first..=last {
            for step in STEPS {
                let tick = step * 10f64.powi(power);
                if tick >= self.from * (1.0 - CLOSE) && tick <= self.to * (1.0 + CLOSE) {
                    ticks.push((tick, is_dense || step < 2.0));
                }
            }
        }
        ticks
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "an exponent of ten is small"
)]
fn exponent(value: f64) -> i32 {
    (value * (1.0 + CLOSE)).log10().floor() as i32
}

/// The steps of the decade of a value and of the next one.
fn steps_around(value: f64) -> impl Iterator<Item = f64> {
    let power = exponent(value);
    [power, power + 1]
        .into_iter()
        .flat_map(|power| STEPS.map(|step| step * 10f64.powi(power)))
}

/// `0.05`, `20`, `2k`.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = if value >= 1000.0 {
        (value / 1000.0, "k")
    } else {
        (value, "")
    };
    let rounded = (value * 1e4).round() / 1e4;
    format!("{rounded}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_steps_around_its_values() {
        let of = |values: &[f64]| LogScale::around(values.iter().copied());
        let ends = |from, to| LogScale { from, to };
        assert_eq!(of(&[0.3, 7.0]), ends(0.2, 10.0));
        assert_eq!(of(&[1.0, 200.0]), ends(1.0, 200.0));
        assert_eq!(of(&[20.0]), ends(20.0, 200.0));
        assert_eq!(of(&[]), ends(1.0, 10.0));
        assert!((ends(1.0, 100.0).part(10.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_long_scale_labels_whole_decades_and_a_short_one_every_step() {
        let scale = |from, to| LogScale { from, to };
        let labels = |scale: LogScale| {
            let ticks = scale
                .ticks()
                .into_iter()
                .filter(|(_, has_label)| *has_label);
            ticks.map(|(tick, _)| short(tick)).collect::<Vec<_>>()
        };
        assert_eq!(labels(scale(0.5, 10.0)), ["0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(scale(1.0, 2000.0)), ["1", "10", "100", "1k"]);
        assert_eq!(scale(1.0, 2000.0).ticks().len(), 11);
    }
}
