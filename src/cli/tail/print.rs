//! Events on standard output, a line each.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::client::{EventData, ReceivedEvent};

/// Prints events for a person, or as JSON objects for a program.
pub(super) struct EventPrinter {
    as_json: bool,
}

impl EventPrinter {
    pub(super) fn new(as_json: bool) -> Self {
        EventPrinter { as_json }
    }

    /// Prints an event, and gives it to whoever reads the output at once.
    pub(super) fn print(&mut self, event: &ReceivedEvent) -> io::Result<()> {
        let line = if self.as_json {
            event.to_json()
        } else {
            columns(event)
        };

        let mut out = io::stdout().lock();
        writeln!(out, "{}", one_line(&line))?;
        out.flush()
    }
}

fn columns(event: &ReceivedEvent) -> String {
    let kind = event.kind.as_deref().unwrap_or_default();
    let data = match &event.data {
        EventData::Json(json) => json.get(),
        EventData::Binary(bytes) => &STANDARD.encode(bytes),
    };
    let (vid, time, topic) = (event.vid, event.time_text(), &event.topic);
    format!("{vid:>8}  {time}  {topic}  {kind}  {data}")
}

/// Line breaks in JSON stand only between tokens, where a space means the same.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
