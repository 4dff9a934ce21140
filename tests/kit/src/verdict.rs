//! Compares what was seen with what the scenario expects.

use serde_json::Value;

use crate::record::Seen;
use crate::scenario::Expect;

/// The longest wait of the back-off.
const MOST_BACKOFF_MS: u64 = 20_000;

/// The bound of the first wait; doubled for each try.
const BASE_BACKOFF_MS: u64 = 500;

/// Everything that is wrong, in words.
pub(crate) fn judge(expect: &Expect, seen: &Seen) -> Vec<String> {
    let mut wrong = seen.wrong.clone();

    if let Some(handed) = expect
        .handed
        .as_ref()
        .filter(|handed| **handed != seen.handed)
    {
        wrong.push(format!("handed on {:?}, expected {handed:?}", seen.handed));
    }
    wrong.extend(wrong_data(expect, seen));
    wrong.extend(wrong_waits(expect, seen));
    wrong.extend(wrong_error(expect, seen));
    wrong.extend(wrong_states(expect, seen));
    if let Some(receipts) = &expect.receipts {
        wrong.extend(wrong_receipts(receipts, seen));
    }
    if let Some(calls) = expect.token_calls {
        let found = seen.count("token") as u64;
        if found != calls {
            wrong.push(format!(
                "the token was asked for {found} times, expected {calls}"
            ));
        }
    }
    wrong
}

fn wrong_data(expect: &Expect, seen: &Seen) -> Vec<String> {
    let raw = |cursor: &String| {
        let event = seen.lines("event").find(|line| line["cursor"] == **cursor);
        event
            .and_then(|line| line["raw"].as_str())
            .unwrap_or_default()
    };
    let mut wrong = Vec::new();

    for (cursor, expected) in &expect.raw {
        if raw(cursor) != expected {
            wrong.push(format!(
                "{cursor} has the data {}, expected {expected}",
                raw(cursor)
            ));
        }
    }
    for (cursor, expected) in &expect.raw_bytes {
        let found = raw(cursor).len();
        if found != *expected {
            wrong.push(format!(
                "{cursor} has {found} bytes of data, expected {expected}"
            ));
        }
    }
    wrong
}

fn wrong_waits(expect: &Expect, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();

    for (number, (least, most)) in expect.waits.iter().enumerate() {
        match seen.waits.get(number) {
            Some(ms) if (least..=most).contains(&ms) => {}
            Some(ms) => wrong.push(format!(
                "wait {number}: {ms} ms, expected {least} to {most}"
            )),
            None => wrong.push(format!("wait {number} never began")),
        }
    }
    if let Some(tries) = expect.spread_waits {
        wrong.extend(wrong_spread(tries, &seen.waits));
    }
    wrong
}

/// Full jitter: each wait within its bound, and those at the longest bound spread over all of it.
fn wrong_spread(tries: usize, waits: &[u64]) -> Vec<String> {
    let mut wrong = Vec::new();
    let bound = |n: usize| (BASE_BACKOFF_MS << n.min(10)).min(MOST_BACKOFF_MS);

    for (n, ms) in waits.iter().enumerate().take(tries) {
        if *ms > bound(n) {
            wrong.push(format!("wait {n}: {ms} ms, more than {}", bound(n)));
        }
    }
    let late: Vec<u64> = waits.iter().take(tries).skip(6).copied().collect();
    if late.len() + 6 < tries {
        wrong.push(format!("{} waits, expected {tries}", waits.len()));
        return wrong;
    }

    let mean = late.iter().sum::<u64>() / late.len().max(1) as u64;
    let least = late.iter().min().copied().unwrap_or(0);
    let most = late.iter().max().copied().unwrap_or(0);
    let spread = (7_500..=12_500).contains(&mean) && least < 2_000 && most > 18_000;
    if !spread {
        wrong.push(format!(
            "waits of {least} to {most} ms, mean {mean}: no full jitter"
        ));
    }
    wrong
}

fn wrong_error(expect: &Expect, seen: &Seen) -> Option<String> {
    let found = seen.lines("error").next();

    match (&expect.error, found) {
        (None, None) => None,
        (None, Some(found)) => Some(format!("ended with {found}, expected no error")),
        (Some(expected), None) => Some(format!("no error, expected {expected}")),
        (Some(expected), Some(found)) => (!has_fields(found, expected))
            .then(|| format!("ended with {found}, expected {expected}")),
    }
}

fn wrong_states(expect: &Expect, seen: &Seen) -> Vec<String> {
    let found: Vec<_> = seen
        .lines("state")
        .map(|line| line["cursor"].as_str())
        .collect();
    let mut wrong = Vec::new();

    for (number, allowed) in expect.states.iter().enumerate() {
        let cursor = found.get(number).copied().flatten();
        if !allowed.iter().any(|allowed| allowed.as_deref() == cursor) {
            let cursor = cursor.unwrap_or("none");
            wrong.push(format!(
                "state {number}: cursor {cursor}, expected {allowed:?}"
            ));
        }
    }
    wrong
}

fn wrong_receipts(expected: &[Value], seen: &Seen) -> Vec<String> {
    let found: Vec<_> = seen.lines("receipt").collect();
    let mut wrong = Vec::new();

    if found.len() != expected.len() {
        wrong.push(format!(
            "{} receipts, expected {}",
            found.len(),
            expected.len()
        ));
    }
    for expected in expected {
        if !found.iter().any(|found| has_fields(found, expected)) {
            wrong.push(format!("no receipt {expected} among {found:?}"));
        }
    }
    wrong
}

fn has_fields(found: &Value, expected: &Value) -> bool {
    let mut fields = expected.as_object().into_iter().flatten();
    fields.all(|(name, value)| {
        let found = &found[name];
        // What is not said is not a duplicate.
        found == value || (found.is_null() && *value == Value::Bool(false))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{judge, wrong_spread};
    use crate::record::Seen;
    use crate::scenario::Expect;

    #[test]
    fn an_event_handed_on_twice_is_found() {
        let seen = Seen {
            handed: vec!["11-k".into(), "11-k".into()],
            ..Seen::default()
        };
        let expect = Expect {
            handed: Some(vec!["11-k".into()]),
            ..Expect::default()
        };

        assert_eq!(judge(&expect, &seen).len(), 1);
    }

    #[test]
    fn an_error_that_nobody_expects_is_found() {
        let said = vec![json!({"say": "error", "kind": "other"})];
        let seen = Seen {
            said,
            ..Seen::default()
        };

        assert_eq!(judge(&Expect::default(), &seen).len(), 1);
    }

    #[test]
    fn waits_that_do_not_spread_are_found() {
        let even: Vec<u64> = (0..200)
            .map(|n| [400, 900, 1_900][n.min(2)] + n as u64)
            .collect();
        let full: Vec<u64> = (0..200)
            .map(|n| if n < 6 { 10 } else { n * 101 % 20_000 })
            .collect();

        assert_eq!(wrong_spread(200, &even).len(), 1);
        assert!(wrong_spread(200, &full).is_empty());
        assert_eq!(wrong_spread(201, &full).len(), 1, "one wait is missing");
    }
}
