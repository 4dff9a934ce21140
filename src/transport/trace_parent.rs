//! `traceparent`: which trace a publisher's request is a part of (W3C Trace Context, level 1).
//!
//! It is kept as a header of the event and handed on with it, so that whoever reads the event can
//! go on with the trace. Invariant: a wrong one is passed over, and never a reason to refuse events.

use axum::http::HeaderMap;

use crate::event::NewEvent;

const TRACEPARENT: &str = "traceparent";
/// Two digits of a version, 32 of a trace, 16 of a part of it, two of flags, and what is between.
const LENGTHS: [usize; 4] = [2, 32, 16, 2];

/// The trace of a request, where it names one.
pub(crate) struct TraceParent<'h>(Option<&'h str>);

impl<'h> TraceParent<'h> {
    /// Of a request over HTTP, or of a call's metadata.
    pub(super) fn of(headers: &'h HeaderMap) -> Self {
        let value = headers.get(TRACEPARENT);
        let text = value.and_then(|value| value.to_str().ok());
        TraceParent(text.filter(|text| is_valid(text)))
    }

    /// None at all.
    #[cfg(fuzzing)]
    pub(crate) fn none() -> Self {
        TraceParent(None)
    }

    /// Keeps it in events that do not say another one themselves.
    pub(super) fn keep_in(&self, events: &mut [NewEvent]) {
        let Some(parent) = self.0 else { return };
        for event in events {
            event.add_header(TRACEPARENT, parent);
        }
    }
}

fn is_valid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let is_part = |(part, length): (&&str, usize)| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        part.len() == length && part.bytes().all(is_hex)
    };
    let has_zeros_only = |part: &str| part.bytes().all(|byte| byte == b'0');
    parts.len() == LENGTHS.len()
        && parts.iter().zip(LENGTHS).all(is_part)
        && parts[0] != "ff"
        && !has_zeros_only(parts[1])
        && !has_zeros_only(parts[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_as_the_standard_has_it() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let part = "b7ad6b7169203331";
        assert!(is_valid(&format!("00-{trace}-{part}-01")));
        for wrong in [
            String::new(),
            format!("ff-{trace}-{part}-01"),
            format!("00-{trace}-{part}"),
            format!("00-{trace}-{part}-01-x"),
            format!("00-{}-{part}-01", trace.to_uppercase()),
            format!("00-{}-{part}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
        ] {
            assert!(!is_valid(&wrong), "{wrong}");
        }
    }
}
