//! Requests of other servers: a body with places to fill in, and a message of protobuf in hex.
//!
//! Invariant: a template is checked when the command line is read, so filling it in cannot fail.

/// Where the event's payload goes in a body.
const PAYLOAD: &str = "{payload}";
const TOPIC: &str = "{topic}";
const CURSOR: &str = "{cursor}";

/// A body such as `{"channel":"{topic}","data":"{payload}"}`.
#[derive(Debug, Clone)]
pub(crate) struct BodyTemplate {
    before: String,
    after: String,
}

impl BodyTemplate {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once(PAYLOAD);
        let (before, after) = parts.ok_or_else(|| format!("it has no place for {PAYLOAD}"))?;
        Ok(BodyTemplate {
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }

    /// What stands before and after the payload.
    pub(crate) fn around(&self, topic: &str) -> [String; 2] {
        [&self.before, &self.after].map(|part| part.replace(TOPIC, topic))
    }
}

/// A message such as `1a<0a<{topic}>1200>`: bytes in hex, and texts to fill in. `<` and `>` enclose
/// a part whose length, as protobuf writes it, comes before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MessageTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Byte(u8),
    Topic,
    Cursor,
    WithLength(Vec<Part>),
}

impl MessageTemplate {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let parts = parts(&mut rest)?;
        if rest.is_empty() {
            Ok(MessageTemplate(parts))
        } else {
            Err(format!("nothing is closed by {rest:?}"))
        }
    }

    pub(crate) fn fill(&self, topic: &str, cursor: &str) -> Vec<u8> {
        let mut message = Vec::new();
        push_parts(&mut message, &self.0, topic, cursor);
        message
    }
}

/// The parts up to a `>` that closes none of them, or to the end.
fn parts(rest: &mut &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    while !rest.is_empty() && !rest.starts_with('>') {
        parts.push(part(rest)?);
    }
    Ok(parts)
}

fn part(rest: &mut &str) -> Result<Part, String> {
    let text = *rest;
    for (place, part) in [(TOPIC, Part::Topic), (CURSOR, Part::Cursor)] {
        if let Some(after) = text.strip_prefix(place) {
            *rest = after;
            return Ok(part);
        }
    }
    if let Some(after) = text.strip_prefix('<') {
        *rest = after;
        let inner = parts(rest)?;
        *rest = rest.strip_prefix('>').ok_or("a < is not closed")?;
        return Ok(Part::WithLength(inner));
    }
    let wrong = || format!("{text:?} does not begin with a byte in hex");
    let digits = text.get(..2).ok_or_else(wrong)?;
    *rest = &text[2..];
    let byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    Ok(Part::Byte(byte))
}

fn push_parts(message: &mut Vec<u8>, parts: &[Part], topic: &str, cursor: &str) {
    for part in parts {
        match part {
            Part::Byte(byte) => message.push(*byte),
            Part::Topic => message.extend_from_slice(topic.as_bytes()),
            Part::Cursor => message.extend_from_slice(cursor.as_bytes()),
            Part::WithLength(parts) => {
                let mut inner = Vec::new();
                push_parts(&mut inner, parts, topic, cursor);
                prost::encode_length_delimiter(inner.len(), message)
                    .expect("a vector grows as needed");
                message.extend(inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_filled_in_around_its_payload() {
        let body = BodyTemplate::parse(r#"{"to":"{topic}","data":"{payload}"}"#).expect("a body");
        assert_eq!(body.around("a.1"), [r#"{"to":"a.1","data":""#, r#""}"#]);
        assert!(BodyTemplate::parse("{topic}").is_err());
    }

    #[test]
    fn a_message_has_the_lengths_of_what_is_filled_in() {
        let message = MessageTemplate::parse("1a<0a<{topic}>1200>").expect("a message");
        assert_eq!(message.fill("ab", ""), b"\x1a\x06\x0a\x02ab\x12\x00");
        let long = "x".repeat(200);
        let filled = MessageTemplate::parse("<{cursor}>").expect("a message");
        assert_eq!(filled.fill("", &long)[..2], [200, 1]);
        for wrong in ["1", "0a<", ">", "0a<00>>", "zz", "{topics}"] {
            assert!(MessageTemplate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
