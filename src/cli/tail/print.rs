//! Events on standard output, a line each.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::client::{EventData, ReceivedEvent};

/// Prints events for a person, or as JSON objects for a program.
pub(super) struct EventPrinter {
    as_json: bool,
    /// Events that are still to be printed, where that is limited.
    left: Option<u32>,
}

/// What comes after a printed event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Printed {
    More,
    /// It was the last one that was asked for, or nobody reads the output any more.
    Last,
}

impl EventPrinter {
    pub(super) fn new(as_json: bool, limit: Option<u32>) -> Self {
        EventPrinter {
            as_json,
            left: limit,
        }
    }

    pub(super) fn print(&mut self, event: &ReceivedEvent) -> io::Result<Printed> {
        match print_line(&self.text(event)) {
            Ok(()) => Ok(self.count()),
            // Whoever read the output has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Printed::Last),
            Err(error) => Err(error),
        }
    }

    fn count(&mut self) -> Printed {
        // Without a limit there is always more.
        self.left = self.left.map(|left| left.saturating_sub(1));
        match self.left {
            Some(0) => Printed::Last,
            _ => Printed::More,
        }
    }

    fn text(&self, event: &ReceivedEvent) -> String {
        if self.as_json {
            event.to_json()
        } else {
            columns(event)
        }
    }
}

/// Prints a line, and gives it to whoever reads the output at once.
fn print_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", one_line(text))?;
    // A pipe is no terminal, and its reader wants events as they come.
    out.flush()
}

fn columns(event: &ReceivedEvent) -> String {
    let (vid, time, topic) = (event.vid, event.time_text(), &event.topic);
    // Columns are wide enough for most logs; data comes last because it may be long.
    let kind = event.kind.as_deref().unwrap_or_default();
    let data = data_text(&event.data);
    format!("{vid:>8}  {time}  {topic}  {kind}  {data}")
}

fn data_text(data: &EventData) -> Cow<'_, str> {
    match data {
        EventData::Json(json) => json.get().into(),
        EventData::Binary(bytes) => STANDARD.encode(bytes).into(),
    }
}

/// Line breaks in JSON stand only between tokens, where a space means the same.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
