//! The highest rate at which nothing is missing and the p99 stays under a bound.

use serde_json::Value;

const FIRST_RATE: u32 = 200;
const HIGHEST_RATE: u32 = 100_000;
const P99_US: u64 = 250_000;
/// Seconds of a try, and of the run that is shown.
const TRY_SECONDS: u32 = 5;
const RUN_SECONDS: u32 = 10;
/// A rate holds if one of so many tries does: the machine has other things to do.
const TRIES: u32 = 2;

pub(crate) fn flags(rate: u32, seconds: u32) -> Vec<String> {
    [
        "-r".to_owned(),
        rate.to_string(),
        "-d".to_owned(),
        seconds.to_string(),
    ]
    .into()
}

/// Doubles or halves from the first rate until that breaks or holds, tries once between, and
/// measures at the highest that held.
pub(crate) fn highest_rate(mut measure: impl FnMut(u32, u32) -> Value) -> Value {
    let mut holds = |rate: u32| (0..TRIES).any(|_| is_good(&measure(rate, TRY_SECONDS), rate));
    let mut rate = FIRST_RATE;
    if holds(rate) {
        while rate < HIGHEST_RATE && holds(rate * 2) {
            rate *= 2;
        }
    } else {
        while rate > 1 {
            rate /= 2;
            if holds(rate) {
                break;
            }
        }
    }
    let between = rate + rate / 2;
    if holds(between) {
        rate = between;
    }
    measure(rate, RUN_SECONDS)
}

fn is_good(result: &Value, rate: u32) -> bool {
    let number = |pointer: &str| result.pointer(pointer).and_then(Value::as_f64);
    let is_zero = |pointer: &str| number(pointer) == Some(0.0);
    is_zero("/delivery/missing")
        && is_zero("/lost")
        && is_zero("/publish/faults")
        && number("/publish/per_second").is_some_and(|accepted| accepted > 0.97 * f64::from(rate))
        && result
            .pointer("/delivery/latency_us/p99")
            .and_then(Value::as_u64)
            .is_some_and(|p99| p99 < P99_US)
}
