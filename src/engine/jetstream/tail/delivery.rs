//! What a server says of a message that a consumer delivers, in the subject for its answer.
//!
//! Invariant: any text can come here; what is not such a subject is none.

use crate::cursor::Vid;

/// The place of a delivered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    /// In the stream.
    pub(super) vid: Vid,
    /// Among all that this consumer has delivered, counted from 1.
    pub(super) number: u64,
    /// When the leader took it, in milliseconds since 1970.
    pub(super) time_ms: i64,
}

impl Delivery {
    /// Reads `$JS.ACK.STREAM.CONSUMER.TIMES.VID.NUMBER.TIME.PENDING`. Newer servers put a domain
    /// and the hash of an account behind `ACK`, and may end with a random token.
    pub(super) fn parse(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let tokens: Vec<&str> = rest.split('.').take(11).collect();
        let places = match tokens.len() {
            7 => &tokens[3..],
            9 | 10 => &tokens[5..],
            _ => return None,
        };
        let time_ns: i64 = places[2].parse().ok()?;
        Some(Delivery {
            vid: places[0].parse().ok()?,
            number: places[1].parse().ok()?,
            time_ms: time_ns.div_euclid(1_000_000),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_delivery_is_read_from_each_form_of_the_subject() {
        let expected = Delivery {
            vid: 1042,
            number: 17,
            time_ms: 1_764_342_595_123,
        };
        let places = "s.c.1.1042.17.1764342595123456789.5";
        for subject in [
            format!("$JS.ACK.{places}"),
            format!("$JS.ACK._.ACCHASH.{places}"),
            format!("$JS.ACK.hub.ACCHASH.{places}.x9z"),
        ] {
            assert_eq!(Delivery::parse(&subject), Some(expected), "{subject}");
        }
    }

    #[test]
    fn other_subjects_are_none() {
        for subject in [
            "",
            "$JS.ACK",
            "$JS.ACK.",
            "$JS.ACK.s.c.1.1042.17.9",
            "$JS.ACK.s.c.1.1042.17.9.5.6",
            "$JS.ACK.d.a.s.c.1.1042.17.9.5.r.more",
            "$JS.ACK.s.c.1.-1.17.9.5",
            "$JS.ACK.s.c.1.1042.x.9.5",
            "$JS.NAK.s.c.1.1042.17.9.5",
            "$JS.ACK.s.c.1.99999999999999999999.17.9.5",
        ] {
            assert_eq!(Delivery::parse(subject), None, "{subject}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_come(text in ".*", tokens in prop::collection::vec("[^.]{0,4}", 0..14)) {
            let _ = Delivery::parse(&text);
            let _ = Delivery::parse(&format!("$JS.ACK.{}", tokens.join(".")));
        }

        #[test]
        fn places_come_back_as_they_were(
            vid: u64, number: u64, time_ns in 0..i64::MAX, is_long: bool, has_random: bool,
            name in "[a-zA-Z0-9_-]{1,12}",
        ) {
            let behind_ack = if is_long { "hub.ABCD." } else { "" };
            let random = if is_long && has_random { ".r4nd" } else { "" };
            let subject = format!("$JS.ACK.{behind_ack}{name}.{name}.3.{vid}.{number}.{time_ns}.9{random}");
            let time_ms = time_ns / 1_000_000;
            prop_assert_eq!(Delivery::parse(&subject), Some(Delivery { vid, number, time_ms }));
        }
    }
}
