//! The lines of the input, each with its number, and with an id where it is to have one.
//!
//! Invariants:
//! - the line that is read is in memory, and a few that wait; never the input;
//! - a line's own bytes are sent as they came, except for an id that is added.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::cli::Failure;
use crate::client::PublishLine;
use crate::limits;

/// Lines that have been read and are not asked for yet.
const READ_AHEAD: usize = 8;

/// Where a line stands in the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LinePlace {
    /// From 1; empty lines are counted too.
    pub(super) number: u64,
    /// Bytes of the input up to the end of the line.
    pub(super) end_bytes: u64,
}

/// What to make of lines.
#[derive(Debug, Clone)]
pub(super) struct LineOptions {
    /// Lines before this one are passed over.
    pub(super) from_line: u64,
    /// Lines without an id get this, a colon and their number.
    pub(super) id_prefix: Option<String>,
}

/// The lines of an input, as they are read.
pub(super) type InputLines = ReceiverStream<io::Result<PublishLine<LinePlace>>>;

type InputBytes = BufReader<Box<dyn AsyncRead + Send + Unpin>>;

type LineSender = mpsc::Sender<io::Result<PublishLine<LinePlace>>>;

/// How long the input is in bytes, where it is a file.
pub(super) fn length_bytes(path: &Path) -> Option<u64> {
    // Standard input may be a file too, by redirection.
    let path = if path == Path::new("-") {
        Path::new("/dev/stdin")
    } else {
        path
    };
    let file = std::fs::metadata(path).ok()?;
    file.is_file().then_some(file.len())
}

/// Opens a file, or standard input for `-`, and reads its lines while they are asked for.
pub(super) async fn read(path: PathBuf, options: LineOptions) -> Result<InputLines, Failure> {
    // A file that is not there is a wrong flag.
    let input = open(&path).await;
    let input = input.map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;

    // A task of its own, because a line that has begun is not given up when something else happens.
    let (sender, lines) = mpsc::channel(READ_AHEAD);
    tokio::spawn(async move {
        // The error comes behind the lines before it.
        if let Err(error) = send_lines(input, &options, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(ReceiverStream::new(lines))
}

async fn open(path: &Path) -> io::Result<InputBytes> {
    let input: Box<dyn AsyncRead + Send + Unpin> = if path == Path::new("-") {
        Box::new(tokio::io::stdin())
    } else {
        Box::new(tokio::fs::File::open(path).await?)
    };
    Ok(BufReader::new(input))
}

/// Reads lines until the input ends or nobody wants them any more.
async fn send_lines(
    mut input: impl AsyncBufRead + Unpin,
    options: &LineOptions,
    lines: &LineSender,
) -> io::Result<()> {
    let mut place = LinePlace::default();
    while let Some(text) = next_line(&mut input, &mut place).await? {
        // What is passed over is counted too.
        if place.number < options.from_line || text.trim_ascii().is_empty() {
            continue;
        }
        // Nobody takes lines once publishing has ended.
        if lines.send(Ok(options.line(place, text))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The next line, and its place; none at the end of the input.
async fn next_line(
    input: &mut (impl AsyncBufRead + Unpin),
    place: &mut LinePlace,
) -> io::Result<Option<Vec<u8>>> {
    let (text, read_bytes) = read_line(input).await?;
    place.number += 1;
    place.end_bytes += read_bytes;
    Ok((read_bytes > 0).then_some(text))
}

/// A line with its line break, and how many bytes it has. Of a line that is too long there is a
/// little more than may be sent, which is enough to refuse it.
async fn read_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<(Vec<u8>, u64)> {
    let mut text = Vec::new();
    // The line break, and one byte that shows that the line is too long.
    let longest = limits::MAX_LINE_BYTES as u64 + 2;
    let read = input.take(longest).read_until(b'\n', &mut text).await?;

    // The rest of a line that is too long is passed over, but counted.
    let is_cut = read as u64 == longest && !text.ends_with(b"\n");
    let skipped = if is_cut { skip_line(input).await? } else { 0 };
    Ok((text, read as u64 + skipped))
}

/// Passes over the rest of a line; gives its bytes.
async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffered = input.fill_buf().await?;
        // Only up to the line's end: the rest belongs to the next one.
        let end = buffered.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffered.len(), |at| at + 1);
        let is_done = end.is_some() || buffered.is_empty();

        input.consume(count);
        skipped += count as u64;
        if is_done {
            return Ok(skipped);
        }
    }
}

impl LineOptions {
    fn line(&self, place: LinePlace, text: Vec<u8>) -> PublishLine<LinePlace> {
        // The number of a line is the same in each run, and so is its id.
        let prefix = self.id_prefix.as_ref();
        let id = prefix.map(|prefix| format!("{prefix}:{}", place.number));
        PublishLine::from_json(place, text, id.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn lines_keep_their_numbers_and_one_that_is_too_long_is_cut() {
        let long = "x".repeat(limits::MAX_LINE_BYTES + 5);
        let input = format!("{{}}\n\n{long}\n{{\"a\":1}}");
        let (sender, lines) = mpsc::channel(9);
        let options = LineOptions {
            from_line: 2,
            id_prefix: None,
        };
        let sent = send_lines(input.as_bytes(), &options, &sender).await;
        sent.expect("lines");
        drop(sender);

        let lines: Vec<_> = ReceiverStream::new(lines).collect().await;
        let places = lines.iter().map(|line| {
            let line = line.as_ref().expect("a line");
            (line.key().number, line.key().end_bytes, line.is_too_long())
        });
        let end = input.len() as u64;
        assert_eq!(
            places.collect::<Vec<_>>(),
            [(3, end - 7, true), (4, end, false)]
        );
    }
}
