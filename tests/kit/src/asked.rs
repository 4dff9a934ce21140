//! Compares a request with what the scenario says must be asked.

use crate::scenario::Asked;
use crate::wire::Request;

/// What is wrong with a request, in words; nothing when it is right.
pub(crate) fn differences(asked: &Asked, request: &Request, earlier: &[Request]) -> Vec<String> {
    let mut wrong = Vec::new();

    if let Some(method) = &asked.method {
        compare(&mut wrong, "method", Some(method), Some(&request.method));
    }
    if let Some(path) = &asked.path {
        compare(&mut wrong, "path", Some(path), Some(&request.path));
    }
    for (name, expected) in &asked.parameters {
        let found = request.parameters.get(name);
        compare(&mut wrong, name, expected.as_ref(), found);
    }
    for (name, expected) in &asked.headers {
        let found = request.headers.get(&name.to_ascii_lowercase());
        compare(&mut wrong, name, Some(expected), found);
    }
    if let Some(allowed) = &asked.after {
        wrong.extend(wrong_cursor(allowed, request));
    }
    if let Some(events) = asked.events.filter(|events| *events != request.ids.len()) {
        wrong.push(format!(
            "{events} events expected, {} came",
            request.ids.len()
        ));
    }
    if let Some(same) = asked.same_ids {
        let before = earlier
            .get(same.request)
            .map_or(&[][..], |earlier| &earlier.ids);
        wrong.extend(other_ids(
            before.get(same.skip..).unwrap_or_default(),
            &request.ids,
        ));
    }
    wrong
}

fn compare(wrong: &mut Vec<String>, what: &str, expected: Option<&String>, found: Option<&String>) {
    if expected != found {
        wrong.push(format!(
            "{what} {}, expected {}",
            shown(found),
            shown(expected)
        ));
    }
}

fn wrong_cursor(allowed: &[Option<String>], request: &Request) -> Option<String> {
    let found = match request.cursor() {
        Ok(found) => found,
        Err(wrong) => return Some(wrong),
    };
    let right = allowed.iter().any(|cursor| cursor.as_deref() == found);
    let expected: Vec<_> = allowed
        .iter()
        .map(|cursor| shown(cursor.as_ref()))
        .collect();
    let found = found.unwrap_or("absent");
    (!right).then(|| format!("cursor {found}, expected {}", expected.join(" or ")))
}

fn other_ids(before: &[String], now: &[String]) -> Option<String> {
    if before.iter().chain(now).any(String::is_empty) {
        return Some("an event without an id".into());
    }
    (before != now).then(|| format!("ids {now:?}, expected those of before, {before:?}"))
}

fn shown(text: Option<&String>) -> &str {
    text.map_or("absent", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::differences;
    use crate::scenario::Asked;
    use crate::wire::Request;

    fn request(after: &str) -> Request {
        let parameters = [("after".to_owned(), after.to_owned())].into();
        Request {
            parameters,
            ..Request::default()
        }
    }

    #[test]
    fn a_stale_cursor_is_found_and_each_allowed_one_is_right() {
        let asked = Asked {
            after: Some(vec![Some("11-k".into()), Some("12-k".into())]),
            ..Asked::default()
        };

        assert!(differences(&asked, &request("12-k"), &[]).is_empty());
        assert_eq!(
            differences(&asked, &request("10-k"), &[]),
            ["cursor 10-k, expected 11-k or 12-k"]
        );
    }

    #[test]
    fn a_parameter_that_must_be_absent_is_found() {
        let parameters = [("after".to_owned(), None)].into();
        let asked = Asked {
            parameters,
            ..Asked::default()
        };

        assert_eq!(
            differences(&asked, &request("1"), &[]),
            ["after 1, expected absent"]
        );
    }

    #[test]
    fn another_id_on_the_second_try_is_found() {
        let asked: Asked =
            serde_json::from_str(r#"{"same_ids":{"request":0,"skip":1}}"#).expect("it is valid");
        let with = |ids: &[&str]| Request {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Request::default()
        };
        let first = [with(&["a", "b", "c"])];

        assert!(differences(&asked, &with(&["b", "c"]), &first).is_empty());
        assert_eq!(differences(&asked, &with(&["b", "x"]), &first).len(), 1);
    }
}
