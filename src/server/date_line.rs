//! The `Date` of answers (RFC 9110 §6.6.1), which the answers of one second have in common.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;

thread_local! {
    /// A second of the wall clock, and its line; one for each thread, so that none waits.
    static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Adds the line of this moment to a head.
pub(super) fn push(head: &mut Vec<u8>) {
    push_of(head, SystemTime::now());
}

fn push_of(head: &mut Vec<u8>, now: SystemTime) {
    // A clock that is set before 1970 is shown as 1970.
    let second = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    LAST.with_borrow_mut(|(made_for, line)| {
        if line.is_empty() || *made_for != second.as_secs() {
            let date = HttpDate::from(UNIX_EPOCH + second);
            (*made_for, *line) = (second.as_secs(), format!("date: {date}\r\n"));
        }
        head.extend_from_slice(line.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_second_has_its_line() {
        let second = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        let mut head = Vec::new();
        for moment in [second(999), second(1000), second(1999), second(0)] {
            push_of(&mut head, moment);
        }
        let lines = String::from_utf8(head).expect("text");
        let seconds: Vec<_> = lines.lines().map(|line| &line[29..]).collect();
        assert_eq!(seconds, ["00 GMT", "01 GMT", "01 GMT", "00 GMT"], "{lines}");
    }
}
