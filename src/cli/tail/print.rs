//! A line an event.

use std::io::{self, Write as _};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Item, Position};

/// Prints items, and keeps the position behind what has been printed.
pub(super) struct Printer {
    as_json: bool,
    left: Option<u32>,
}

#[derive(Deserialize)]
struct Shown<'a> {
    vid: u64,
    topic: String,
    time: &'a str,
    r#type: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<&'a str>,
}

impl Printer {
    pub(super) fn new(as_json: bool, limit: Option<u32>) -> Self {
        Printer {
            as_json,
            left: limit,
        }
    }

    /// True when the last event that was asked for has been printed.
    pub(super) fn take(&mut self, item: Item, position: &mut Position) -> io::Result<bool> {
        match item {
            Item::Event { json, cursor } => {
                self.print(&json)?;
                position.resume_after(cursor);
                self.left = self.left.map(|left| left - 1);
            }
            Item::Hello { .. } | Item::Closing { .. } => {}
            Item::Position(cursor) => position.resume_after(cursor),
            Item::Gap(text) => eprintln!("vidette: {text}"),
        }
        Ok(self.left == Some(0))
    }

    fn print(&self, json: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.as_json {
            out.write_all(&one_line(json))?;
        } else {
            let shown: Shown<'_> = serde_json::from_slice(json)?;
            let data = shown
                .data
                .map_or_else(|| shown.data_base64.unwrap_or_default(), RawValue::get);
            let kind = shown.r#type.unwrap_or_default();
            write!(
                out,
                "{:>8}  {}  {}  {kind}  ",
                shown.vid, shown.time, shown.topic
            )?;
            out.write_all(&one_line(data.as_bytes()))?;
        }
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// Line ends in JSON stand only between tokens, where a space means the same.
fn one_line(json: &[u8]) -> Vec<u8> {
    json.iter()
        .map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b })
        .collect()
}
