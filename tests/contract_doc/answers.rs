//! Is what came back what the page says?

use crate::page::Answer;

const TIME: &str = "2026-11-22T…Z";
const ANYTHING: char = '…';

/// Compares; when they differ, gives a diff with `-` for the page's lines and `+` for those that
/// came back.
pub(crate) fn compare(answer: &Answer, seen: &str) -> Result<(), String> {
    let (expected, seen) = match answer {
        Answer::Json(text) => (laid_out(text), laid_out(seen)),
        Answer::Text(text) => (text.clone(), seen.to_owned()),
    };
    let expected: Vec<&str> = expected.trim_end().lines().collect();
    let seen: Vec<&str> = seen.trim_end().lines().collect();
    if all_match(&expected, &seen) {
        Ok(())
    } else {
        Err(diff(&expected, &seen))
    }
}

/// JSON with each value on a line of its own, so that layout does not count. Digits, order and
/// texts stay as they are.
fn laid_out(json: &str) -> String {
    let mut out = String::new();
    let (mut in_text, mut is_escaped) = (false, false);
    for c in json.chars() {
        if !in_text && c.is_whitespace() {
            continue;
        }
        let last = out.chars().next_back();
        let ends_value =
            matches!(last, Some('}' | ']')) && !in_text && !matches!(c, ',' | '}' | ']');
        let begins_value = last == Some(ANYTHING) && !in_text && c == '{';
        if ends_value || begins_value || (!in_text && matches!(c, '}' | ']') && last != Some('\n'))
        {
            out.push('\n');
        }
        out.push(c);
        if !in_text && matches!(c, '{' | '[' | ',') {
            out.push('\n');
        }
        in_text ^= c == '"' && !is_escaped;
        is_escaped = in_text && c == '\\' && !is_escaped;
    }
    out
}

fn is_any_lines(expected: &str) -> bool {
    matches!(expected.trim(), "…" | "…,")
}

fn all_match(expected: &[&str], seen: &[&str]) -> bool {
    match expected.split_first() {
        None => seen.is_empty(),
        Some((first, rest)) if is_any_lines(first) => {
            (0..=seen.len()).any(|taken| all_match(rest, &seen[taken..]))
        }
        Some((first, rest)) => seen
            .split_first()
            .is_some_and(|(line, more)| line_matches(first, line) && all_match(rest, more)),
    }
}

fn line_matches(expected: &str, seen: &str) -> bool {
    if let Some(rest) = expected.strip_prefix(TIME) {
        return after_time(seen).is_some_and(|more| line_matches(rest, more));
    }
    if let Some(rest) = expected.strip_prefix(ANYTHING) {
        let ends = seen
            .char_indices()
            .map(|(index, _)| index)
            .chain([seen.len()]);
        return ends.into_iter().any(|end| line_matches(rest, &seen[end..]));
    }
    match (expected.chars().next(), seen.chars().next()) {
        (None, None) => true,
        (Some(e), Some(s)) if e == s => {
            line_matches(&expected[e.len_utf8()..], &seen[s.len_utf8()..])
        }
        _ => false,
    }
}

/// What follows a time as `2026-11-22T10:00:00.123Z`; its fraction may be left out.
fn after_time(seen: &str) -> Option<&str> {
    let end = seen.find('Z')?;
    let time: String = seen[..end]
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let (whole, fraction) = time.split_once('.').unwrap_or((&time, "0"));
    let fits = whole == "0000-00-00T00:00:00"
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b == b'0');
    fits.then(|| &seen[end + 1..])
}

/// The longest common lines, and around them what only one of the two has.
fn diff(expected: &[&str], seen: &[&str]) -> String {
    let is_same = |e: &str, s: &str| !is_any_lines(e) && line_matches(e, s);
    let mut common = vec![vec![0; seen.len() + 1]; expected.len() + 1];
    for e in (0..expected.len()).rev() {
        for s in (0..seen.len()).rev() {
            common[e][s] = if is_same(expected[e], seen[s]) {
                common[e + 1][s + 1] + 1
            } else {
                common[e + 1][s].max(common[e][s + 1])
            };
        }
    }
    let mut lines = Vec::new();
    let (mut e, mut s) = (0, 0);
    while e < expected.len() || s < seen.len() {
        if e < expected.len() && s < seen.len() && is_same(expected[e], seen[s]) {
            lines.push(format!("    {}", seen[s]));
            (e, s) = (e + 1, s + 1);
        } else if s == seen.len() || (e < expected.len() && common[e + 1][s] >= common[e][s + 1]) {
            let sign = if is_any_lines(expected[e]) { ' ' } else { '-' };
            lines.push(format!("  {sign} {}", expected[e]));
            e += 1;
        } else {
            lines.push(format!("  + {}", seen[s]));
            s += 1;
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(expected: &str, seen: &str) -> bool {
        compare(&Answer::Text(expected.into()), seen).is_ok()
    }

    fn json(expected: &str, seen: &str) -> bool {
        compare(&Answer::Json(expected.into()), seen).is_ok()
    }

    #[test]
    fn text_is_compared_line_by_line() {
        assert!(text("a\nb", "a\nb\n"));
        assert!(!text("a\nb", "a b") && !text("a", "a\nb") && !text("", "a") && !text("a", ""));
        assert!(text("id: 1-abc\n\ndata: x", "id: 1-abc\n\ndata: x\n\n"));
        assert!(!text("id: 1-abc\n\ndata: x", "id: 1-abc\ndata: x"));
    }

    #[test]
    fn the_layout_of_json_does_not_count_but_all_else_does() {
        assert!(json(
            "{\"a\": [1, 2],\n \"b\": {}}",
            r#"{"a":[1,2],"b":{}}"#
        ));
        assert!(json(
            "{\"a\": 1}\n{\"b\": 2}",
            "{\n  \"a\":  1\n}\n{\"b\":2}\n"
        ));
        assert!(!json(r#"{"a": 1.0}"#, r#"{"a":1.00}"#), "digits");
        assert!(!json(r#"{"a": 1, "b": 2}"#, r#"{"b":2,"a":1}"#), "order");
        assert!(
            !json(r#"{"a": "x y"}"#, r#"{"a":"xy"}"#),
            "white space in a text"
        );
        assert!(
            !json(r#"{"a": "\" , "}"#, r#"{"a":"\","}"#),
            "the same behind an escaped quote"
        );
        assert!(
            !json(r#"{"a": 1}"#, r#"{"a":1,"b":2}"#) && !json(r#"{"a": 1, "b": 2}"#, r#"{"a":1}"#)
        );
    }

    #[test]
    fn a_placeholder_stands_for_a_time_for_a_part_of_a_line_or_for_lines() {
        assert!(text("at 2026-11-22T…Z.", "at 2031-01-02T03:04:05.678Z."));
        assert!(text("2026-11-22T…Z", "2031-01-02T03:04:05Z"));
        assert!(
            !text("2026-11-22T…Z", "yesterdayZ") && !text("2026-11-22T…Z", "2031-01-02T03:04:05.Z")
        );
        assert!(text("retry: …", "retry: 1234") && !text("retry: …", "retry: 1\n2"));
        assert!(
            text("a\n…\nz", "a\nz") && text("a\n…\nz", "a\nb\nc\nz") && !text("a\n…\nz", "a\nb")
        );
        assert!(json(r#"{"a": […], "b": …}"#, r#"{"a":[{"c":1},2],"b":77}"#));
        assert!(json(
            "{\"a\": 1}\n…\n{\"b\": 2}",
            r#"{"a":1}{"x":1}{"x":2}{"b":2}"#
        ));
        assert!(!json(r#"{"a": [1, …]}"#, r#"{"a":[2,3]}"#));
    }

    #[test]
    fn a_difference_is_shown_with_what_is_around_it() {
        let compared = compare(
            &Answer::Json(r#"{"a": 1, "b": 2, "c": 3}"#.into()),
            r#"{"a":1,"b":7,"c":3}"#,
        );
        assert_eq!(
            compared.expect_err("a difference"),
            "    {\n    \"a\":1,\n  - \"b\":2,\n  + \"b\":7,\n    \"c\":3\n    }"
        );
    }
}
