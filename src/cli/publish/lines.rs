//! The lines of the input, each with its number, and with an id where it is to have one.
//!
//! Invariants:
//! - the line that is read is in memory, and a few that wait; never the input;
//! - a line's own bytes are sent as they came, but for an id that is added.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::sync::mpsc;

use crate::cli::Failure;
use crate::limits;

/// Lines that have been read and are not asked for yet.
const READ_AHEAD: usize = 8;

/// A line of the input that is not empty.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    /// What is sent, with its line break. None where it is too long to be sent at all.
    pub(super) text: Option<Bytes>,
    /// Bytes of the input up to its end.
    pub(super) through: u64,
    /// Can it be sent twice and make one event?
    pub(super) is_repeatable: bool,
}

impl Line {
    pub(super) fn size_bytes(&self) -> usize {
        self.text.as_ref().map_or(0, Bytes::len)
    }
}

/// What to make of lines.
#[derive(Debug, Clone)]
pub(super) struct Numbering {
    /// Lines before this one are passed over.
    pub(super) from_line: u64,
    /// Lines without an id get this and their number.
    pub(super) id_prefix: Option<String>,
}

/// How long the input is, where it is a file.
pub(super) fn length(path: &Path) -> Option<u64> {
    let path = if path == Path::new("-") {
        Path::new("/dev/stdin")
    } else {
        path
    };
    std::fs::metadata(path)
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
}

/// Opens a file, or standard input for `-`, and reads its lines while they are asked for.
pub(super) async fn read(
    path: &Path,
    numbering: Numbering,
) -> Result<mpsc::Receiver<std::io::Result<Line>>, Failure> {
    let input: Box<dyn AsyncRead + Send + Unpin> = if path == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        let file = tokio::fs::File::open(path).await;
        Box::new(file.map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?)
    };
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    tokio::spawn(async move {
        if let Err(fault) = send_lines(BufReader::new(input), &numbering, &sender).await {
            let _ = sender.send(Err(fault)).await;
        }
    });
    Ok(receiver)
}

async fn send_lines(
    mut input: impl AsyncBufRead + Unpin,
    numbering: &Numbering,
    lines: &mpsc::Sender<std::io::Result<Line>>,
) -> std::io::Result<()> {
    let (mut number, mut through) = (0, 0);
    loop {
        let mut text = Vec::new();
        let read = (&mut input)
            .take(limits::MAX_LINE_BYTES as u64 + 1)
            .read_until(b'\n', &mut text)
            .await?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        through += read as u64;
        let is_too_long = text.strip_suffix(b"\n").unwrap_or(&text).len() > limits::MAX_LINE_BYTES;
        if is_too_long && !text.ends_with(b"\n") {
            through += skip_line(&mut input).await?;
        }
        if number < numbering.from_line || text.trim_ascii().is_empty() {
            continue;
        }
        let (text, is_repeatable) = if is_too_long {
            (None, true)
        } else {
            numbering.prepare(text, number)
        };
        if lines
            .send(Ok(Line {
                number,
                text,
                through,
                is_repeatable,
            }))
            .await
            .is_err()
        {
            return Ok(());
        }
    }
}

/// Passes over the rest of a line; gives its bytes.
async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<u64> {
    let mut skipped = 0;
    loop {
        let there = input.fill_buf().await?;
        let end = there.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(there.len(), |at| at + 1);
        let is_done = end.is_some() || there.is_empty();
        input.consume(count);
        skipped += count as u64;
        if is_done {
            return Ok(skipped);
        }
    }
}

impl Numbering {
    /// A line as it is sent, and whether it can be sent twice. What is no event is refused each
    /// time, so it can.
    fn prepare(&self, text: Vec<u8>, number: u64) -> (Option<Bytes>, bool) {
        let mut text = text;
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&text)
        else {
            return (Some(text.into()), true);
        };
        if fields
            .get("id")
            .is_some_and(|id| !matches!(id.get(), "null" | "\"\""))
        {
            return (Some(text.into()), true);
        }
        let Some(prefix) = &self.id_prefix else {
            return (Some(text.into()), false);
        };
        let id =
            serde_json::value::to_raw_value(&format!("{prefix}:{number}")).expect("a text is JSON");
        fields.insert("id".to_owned(), id);
        let mut text = serde_json::to_vec(&fields).expect("JSON stays JSON");
        text.push(b'\n');
        (Some(text.into()), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(text: &str, id_prefix: Option<&str>) -> (String, bool) {
        let numbering = Numbering {
            from_line: 1,
            id_prefix: id_prefix.map(str::to_owned),
        };
        let (text, is_repeatable) = numbering.prepare(text.as_bytes().to_vec(), 7);
        (
            String::from_utf8(text.expect("a line").to_vec()).expect("UTF-8"),
            is_repeatable,
        )
    }

    #[test]
    fn a_line_without_an_id_gets_one_from_its_number_and_keeps_its_data() {
        let line = "{\"topic\":\"a\", \"data\": 1.50000000000000000001e3 }";
        let with_id = "{\"data\":1.50000000000000000001e3,\"id\":\"run:7\",\"topic\":\"a\"}\n";
        assert_eq!(prepared(line, Some("run")), (with_id.to_owned(), true));
        assert_eq!(prepared(line, None), (format!("{line}\n"), false));
    }

    #[test]
    fn an_id_of_its_own_is_kept() {
        let line = "{\"topic\":\"a\",\"id\":\"x\",\"data\":1}\n";
        for prefix in [None, Some("run")] {
            assert_eq!(prepared(line, prefix), (line.to_owned(), true));
        }
        assert!(
            prepared("{\"topic\":\"a\",\"id\":null}", Some("run"))
                .0
                .contains("\"run:7\"")
        );
    }

    #[test]
    fn what_is_no_object_goes_as_it_is() {
        assert_eq!(
            prepared("nonsense", Some("run")),
            ("nonsense\n".to_owned(), true)
        );
    }

    #[tokio::test]
    async fn lines_keep_their_numbers_and_one_that_is_too_long_is_passed_over() {
        let long = "x".repeat(limits::MAX_LINE_BYTES + 5);
        let input = format!("{{}}\n\n{long}\n{{\"a\":1}}");
        let (sender, mut lines) = mpsc::channel(9);
        let numbering = Numbering {
            from_line: 2,
            id_prefix: None,
        };
        send_lines(input.as_bytes(), &numbering, &sender)
            .await
            .expect("lines");
        drop(sender);
        let mut seen = Vec::new();
        while let Some(line) = lines.recv().await {
            let line = line.expect("a line");
            seen.push((line.number, line.text.is_some(), line.through));
        }
        let end = input.len() as u64;
        assert_eq!(seen, [(3, false, end - 7), (4, true, end)]);
    }
}
