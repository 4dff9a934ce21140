//! Ten thousand events that differ in everything a publisher may choose.

use crate::common::read::{Data, Seen};

/// An event as it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub topic: String,
    pub kind: String,
    pub id: String,
    pub content_type: &'static str,
    pub data: Data,
}

/// The largest data that a gateway takes by default.
const MIB: usize = 1024 * 1024;

/// JSON texts whose bytes must survive.
const JSON: [&str; 22] = [
    r#"{"n":1}"#,
    r#"{"card":12345678901234567890,"negative":-9007199254740993,"edge":9007199254740992}"#,
    r#"{"price":0.1000000000000000055511151231257827,"huge":1E400,"zero":-0.0,"digits":1.10}"#,
    "{\n  \"lines\": [\n    1,\n    2\n  ]\n}",
    "{\r\n  \"crlf\": [1,\r\n 2]\r\n}",
    "{\r\"cr\":\r[1,\r2]}",
    r#""escaped \r\n and \n and \r""#,
    r#""say \"hi\" \\ \/ 'so' <b>&amp;</b>""#,
    "\"\u{2028}\u{2029}\u{85}\u{feff}\u{7f}\"",
    "\"👩‍👩‍👧 😀\"",
    r#""\ud83d\ude00 \u0000 \u2028""#,
    r#""\\ud800 stands in a text""#,
    r#"{"门":"门禁 3 号","状态":["开","关"]}"#,
    r#"{"a":1,"a":2,"vid":"mine","time":null}"#,
    "null",
    "true",
    "0",
    r#""""#,
    "[]",
    "{ }",
    "[ [ [ [ [ 1 , 2 ] ] ] ] ]",
    r#""data: x\n\nevent: vidette.gap\ndata: {}\n\n""#,
];

/// Plain texts.
const TEXTS: [&str; 12] = [
    "",
    "hello",
    "two\nlines",
    "crlf\r\ncr\rlf\n\n\n",
    "\u{2028}\u{2029}\u{85}",
    "\0 and \u{1b}[0m",
    "😀 门禁",
    "\"quoted\" \\",
    "{\"looks\":\"like JSON\"}",
    "data: x\n\nevent: vidette.gap\nid: 7\n\n",
    "\u{feff}with a mark",
    " padded ",
];

/// Bytes that are neither.
const BYTES: [&[u8]; 5] = [
    b"",
    b"\xff\xfe\x00\x80",
    b"\x89PNG\r\n\x1a\n",
    b"plain ASCII",
    b"\xf0\x9f\x98",
];

/// So many events, of all kinds; every 2500th of them has the largest data there may be.
pub fn samples(count: usize) -> Vec<Sample> {
    (0..count).map(sample).collect()
}

fn sample(n: usize) -> Sample {
    let data = if n % 2500 == 1200 {
        largest(n)
    } else {
        ordinary(n)
    };
    let content_type = match &data {
        Data::Json(_) => [
            "application/json",
            "application/json; charset=utf-8",
            "application/vnd.door+json",
        ][n % 3],
        Data::Text(_) => ["text/plain", "text/html; charset=utf-8"][n % 2],
        Data::Bytes(_) => ["application/octet-stream", "image/png"][n % 2],
    };
    Sample {
        topic: topic(n, &data),
        kind: kind(n),
        id: id(n),
        content_type,
        data,
    }
}

fn ordinary(n: usize) -> Data {
    match n % 5 {
        0 => Data::Text(TEXTS[n / 5 % TEXTS.len()].to_owned()),
        1 => Data::Bytes([BYTES[n / 5 % BYTES.len()], &n.to_be_bytes()[..n % 9]].concat()),
        2 => Data::Json(format!("{{\"n\":{n}}}")),
        _ => Data::Json(JSON[n / 5 % JSON.len()].to_owned()),
    }
}

fn largest(n: usize) -> Data {
    match n / 2500 % 3 {
        0 => Data::Json(format!("\"{}\"", "é".repeat(MIB / 2 - 1))),
        1 => Data::Text("x\n".repeat(MIB / 2)),
        _ => Data::Bytes((0..=u8::MAX).cycle().take(MIB).collect()),
    }
}

/// Text goes where readers expect it; see `is_text_topic`.
fn topic(n: usize, data: &Data) -> String {
    let tail = match n % 7 {
        0 => format!("door.{}.opened", n % 97),
        1 => "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o".to_owned(), // 15 tokens, and one before them
        2 => "x".repeat(250),
        3 => format!("门.{}", n % 11),
        4 => "emoji.😀".to_owned(),
        5 => "a/b?c=d&e#f%41+g".to_owned(),
        _ => format!("device-{}", n % 500),
    };
    match data {
        Data::Text(_) => format!("text.{tail}"),
        Data::Json(_) => format!("json.{tail}"),
        Data::Bytes(_) => format!("bin.{tail}"),
    }
}

fn kind(n: usize) -> String {
    [
        "",
        "",
        "opened",
        "two words",
        " leading",
        "typé ✓",
        "message",
        "a:b",
    ][n % 8]
        .to_owned()
}

fn id(n: usize) -> String {
    match n % 4 {
        0 => format!("id-{n}"),
        1 => format!("\"{n}\" ☃ \\ &?"),
        _ => String::new(),
    }
}

impl Sample {
    /// The data's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.data {
            Data::Json(text) | Data::Text(text) => text.clone().into_bytes(),
            Data::Bytes(bytes) => bytes.clone(),
        }
    }

    /// The JSON object that publishes this event; JSON data stands in it as it is.
    pub fn object(&self) -> String {
        use base64::Engine as _;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut fields = vec![format!("\"topic\":{}", quoted(&self.topic))];
        if !self.kind.is_empty() {
            fields.push(format!("\"type\":{}", quoted(&self.kind)));
        }
        if !self.id.is_empty() {
            fields.push(format!("\"id\":{}", quoted(&self.id)));
        }
        fields.push(format!("\"content_type\":{}", quoted(self.content_type)));
        fields.push(match &self.data {
            Data::Json(text) => format!("\"data\":{text}"),
            Data::Text(text) => format!("\"data\":{}", quoted(text)),
            Data::Bytes(bytes) => {
                format!(
                    "\"data_base64\":\"{}\"",
                    base64::engine::general_purpose::STANDARD.encode(bytes)
                )
            }
        });
        format!("{{{}}}", fields.join(","))
    }

    /// The event as a reader has to see it at its place.
    pub fn seen(self, vid: u64) -> Seen {
        Seen {
            vid,
            topic: self.topic,
            time_ms: 0,
            kind: self.kind,
            id: self.id,
            data: self.data,
        }
    }
}
