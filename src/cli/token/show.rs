//! `vidette token show`: what is in a token, for a person.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::files::{print, read_input};
use crate::cli::{CommandResult, Failure};

/// Print what a token says, without checking its signature.
#[derive(Args)]
#[command(after_help = "Examples:
  vidette token show alice.token
  vidette token new --secret-file jwt.key --subscribe '>' | vidette token show")]
pub(super) struct ShowArgs {
    /// File of the token; - is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

const NOT_A_TOKEN: &str = "it is no JSON Web Token: three parts with dots between, \
    of which the first two are JSON; an API key has nothing to show";

pub(super) fn run(args: &ShowArgs) -> CommandResult {
    let bytes = read_input(&args.file)?;
    let token = str::from_utf8(&bytes).unwrap_or_default().trim();
    let (header, claims) = parts(token).ok_or_else(|| Failure::usage(NOT_A_TOKEN))?;

    print(&format!("{header}\n{claims:#}"))?;
    let now_s = Timestamp::now().as_second();
    for line in in_words(&claims, now_s) {
        print(&line)?;
    }
    print("The signature was not checked.")
}

/// Header and claims; the signature is passed over.
fn parts(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.');
    let (header, claims) = (object(parts.next()?)?, object(parts.next()?)?);
    let is_whole = parts.next().is_some() && parts.next().is_none();
    is_whole.then_some((header, claims))
}

fn object(part: &str) -> Option<Value> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    let value: Value = serde_json::from_slice(&json).ok()?;
    value.is_object().then_some(value)
}

/// When it is good, and what it gives.
fn in_words(claims: &Value, now_s: i64) -> Vec<String> {
    let mut lines = vec![expiry(&claims["exp"], now_s)];
    let start_s = seconds(&claims["nbf"]).filter(|start_s| *start_s > now_s);
    lines.extend(start_s.map(|start_s| format!("Not good before {}.", time(start_s))));
    if claims["vidette"].is_null() {
        lines.push("It gives no rights: it has no claim vidette.".to_owned());
    }
    lines
}

fn expiry(exp: &Value, now_s: i64) -> String {
    if exp.is_null() {
        return "It does not expire.".to_owned();
    }
    let Some(end_s) = seconds(exp) else {
        return "Its expiry (exp) is not a time.".to_owned();
    };
    let distance = Duration::from_secs(end_s.abs_diff(now_s));
    let (time, distance) = (time(end_s), humantime::format_duration(distance));
    if end_s <= now_s {
        format!("Expired {distance} ago ({time}).")
    } else {
        format!("Expires in {distance} ({time}).")
    }
}

/// Seconds since 1970, which may have a fraction.
fn seconds(time: &Value) -> Option<i64> {
    // A fraction of a second does not matter to a person; what is beyond an i64 is its end.
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    time.as_f64().map(|seconds| seconds as i64)
}

fn time(seconds: i64) -> String {
    let time = Timestamp::from_second(seconds);
    time.map_or_else(
        |_| "beyond all calendars".to_owned(),
        |time| time.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expiry_is_told_in_words() {
        for (claims, words) in [
            (
                json!({"exp": 1060}),
                "Expires in 1m (1970-01-01T00:17:40Z).",
            ),
            (
                json!({"exp": 400.9}),
                "Expired 10m ago (1970-01-01T00:06:40Z).",
            ),
            (json!({"exp": 1e300}), "beyond all calendars"),
            (json!({"exp": "soon"}), "Its expiry (exp) is not a time."),
            (json!({}), "It does not expire."),
            (
                json!({"nbf": 2000}),
                "Not good before 1970-01-01T00:33:20Z.",
            ),
        ] {
            let lines = in_words(&claims, 1000).join(" ");
            assert!(lines.contains(words), "{lines}");
        }
    }

    #[test]
    fn what_is_no_token_has_no_parts() {
        for wrong in ["", "a.b", "a.b.c", "e30.e30", "e30.e30.x.y", "e30.W10.x"] {
            assert!(parts(wrong).is_none(), "{wrong}");
        }
        assert!(parts("e30.e30.x").is_some());
    }
}
