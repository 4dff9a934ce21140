//! The highest rate at which no event is missing and the p99 stays under a bound.

use serde_json::Value;

const FIRST_RATE: u32 = 200;
const HIGHEST_RATE: u32 = 100_000;
const P99_US: f64 = 250_000.0;
/// Seconds of an attempt, and of the run that is shown.
const TRY_SECONDS: u32 = 5;
const RUN_SECONDS: u32 = 10;
/// A rate holds if one of this many attempts does, because other work on the machine disturbs some.
const TRIES: u32 = 2;

pub(crate) fn flags(rate: u32, seconds: u32) -> Vec<String> {
    let (rate, seconds) = (rate.to_string(), seconds.to_string());
    vec!["-r".to_owned(), rate, "-d".to_owned(), seconds]
}

/// Doubles or halves from the first rate until it breaks or holds, tries one rate between, and
/// measures at the highest that held.
pub(crate) fn highest_rate(mut measure: impl FnMut(u32, u32) -> Value) -> Value {
    let mut holds = |rate: u32| (0..TRIES).any(|_| is_good(&measure(rate, TRY_SECONDS), rate));
    let mut rate = power_that_holds(&mut holds);

    // Halfway to the next power, which did not hold.
    let between = rate + rate / 2;
    if holds(between) {
        rate = between;
    }
    measure(rate, RUN_SECONDS)
}

/// The highest rate that holds, among the first one times powers of two.
fn power_that_holds(holds: &mut impl FnMut(u32) -> bool) -> u32 {
    let mut rate = FIRST_RATE;
    if holds(rate) {
        while rate < HIGHEST_RATE && holds(rate * 2) {
            rate *= 2;
        }
        return rate;
    }
    while rate > 1 {
        rate /= 2;
        if holds(rate) {
            break;
        }
    }
    rate
}

fn is_good(result: &Value, rate: u32) -> bool {
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64);
    let is_zero = |pointer: &str| number(pointer) == Some(0.0);

    // A server that accepts less than was asked for has not held the rate, however fast it is.
    let accepted = number("/publish/per_second").unwrap_or_default();
    let p99_us = number("/delivery/latency_us/p99");
    is_zero("/delivery/missing")
        && is_zero("/lost")
        && is_zero("/publish/faults")
        && accepted > 0.97 * f64::from(rate)
        && p99_us.is_some_and(|p99_us| p99_us < P99_US)
}
