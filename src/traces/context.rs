//! Which trace something is a part of (W3C Trace Context, level 1).

use std::fmt::{self, Display, Formatter};

/// Digits of a version, of a trace, of a part of it, and of flags.
const LENGTHS: [usize; 4] = [2, 32, 16, 2];
/// The flag of a caller who records its own part.
const SAMPLED: u8 = 1;

/// A part of a trace, as a `traceparent` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
    pub(super) is_sampled: bool,
}

impl TraceContext {
    /// None where the text is not valid. What a later version appends is not known, so of that the
    /// text alone is handed on.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split('-').collect();
        let [version, trace_id, span_id, flags] = parts[..] else {
            return None;
        };
        let is_part = |(part, length): (&&str, usize)| {
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            part.len() == length && part.bytes().all(is_hex)
        };
        if version == "ff" || !parts.iter().zip(LENGTHS).all(is_part) {
            return None;
        }
        let context = TraceContext {
            trace_id: u128::from_str_radix(trace_id, 16).ok()?,
            span_id: u64::from_str_radix(span_id, 16).ok()?,
            is_sampled: u8::from_str_radix(flags, 16).ok()? & SAMPLED != 0,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }
}

impl Display for TraceContext {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.is_sampled);
        write!(
            f,
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.span_id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_as_the_standard_has_it() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let part = "b7ad6b7169203331";
        for flags in ["01", "00"] {
            let text = format!("00-{trace}-{part}-{flags}");
            let context = TraceContext::parse(&text).expect("a trace");
            assert_eq!(context.is_sampled, flags == "01");
            assert_eq!(context.to_string(), text);
        }
        for wrong in [
            String::new(),
            format!("ff-{trace}-{part}-01"),
            format!("00-{trace}-{part}"),
            format!("00-{trace}-{part}-01-x"),
            format!("00-{}-{part}-01", trace.to_uppercase()),
            format!("00-{}-{part}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
        ] {
            assert_eq!(TraceContext::parse(&wrong), None, "{wrong}");
        }
    }
}
