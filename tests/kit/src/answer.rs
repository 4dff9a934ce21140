//! Plays the actions of one exchange on a connection.
//!
//! Each write is a chunk of its own, unless the scenario dribbles or splits it. A failed write
//! means that the client has left; whether it may, the verdict says.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::SockRef;

use crate::record::Record;
use crate::scenario::{Action, EPOCH, Event, Poll};
use crate::wire::Reader;

/// How long an action waits for the adapter.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// Between two pieces that must arrive apart.
const APART: Duration = Duration::from_millis(3);

/// How long a write may stand still until the reader counts as not reading.
const STALL: Duration = Duration::from_millis(700);

/// Whether another request may follow on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Kept,
    Closed,
}

/// One connection that is being answered.
#[derive(Debug)]
pub(crate) struct Answering<'a> {
    stream: TcpStream,
    record: &'a Record,
    chunked: bool,
    dribble: bool,
    line_end: String,
}

impl<'a> Answering<'a> {
    pub(crate) fn new(stream: TcpStream, record: &'a Record) -> Self {
        let line_end = "\n".into();
        Self {
            stream,
            record,
            chunked: false,
            dribble: false,
            line_end,
        }
    }

    /// Plays all actions in order.
    pub(crate) fn perform(&mut self, then: &[Action], body: &mut Reader) -> io::Result<After> {
        for action in then {
            if self.act(action, body)? == After::Closed {
                return Ok(After::Closed);
            }
        }
        Ok(After::Kept)
    }

    fn act(&mut self, action: &Action, body: &mut Reader) -> io::Result<After> {
        match action {
            Action::Sse => self.stream_head(true)?,
            Action::SseUntilEof => self.stream_head(false)?,
            Action::Answer {
                status,
                headers,
                body,
                length,
            } => {
                let headers: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {v}")).collect();
                self.answer(*status, &headers, body, length.unwrap_or(body.len()))?;
            }
            Action::Json(value) => self.json(value)?,
            Action::Poll(poll) => self.json(&poll_answer(poll))?,
            Action::Bytes(bytes) => self.bytes(bytes.as_bytes())?,
            Action::ReadLines(count) => drop(body.lines(*count)?),
            Action::Ndjson { first, count } => self.receipts(*first, *count)?,
            Action::Dribble(on) => self.dribble = *on,
            Action::LineEnd(end) => self.line_end.clone_from(end),
            Action::WaitMs(ms) => return self.wait(Duration::from_millis(*ms)),
            Action::UntilHanded(count) => self.until_handed(*count),
            Action::UntilRequests(count) => {
                self.record
                    .wait_until(MOST_WAIT, |seen| seen.requests.len() >= *count);
            }
            Action::Flood { first, most_bytes } => return self.flood(*first, *most_bytes),
            Action::End => {
                self.chunked = false;
                self.bytes(b"0\r\n\r\n")?;
            }
            Action::Cut => return Ok(After::Closed),
            Action::Reset => return self.reset(),
            Action::Hold => return self.hold(),
            stream_part => self.stream_part(stream_part)?,
        }
        Ok(After::Kept)
    }

    /// The actions that write a piece of an event stream.
    fn stream_part(&mut self, action: &Action) -> io::Result<()> {
        match action {
            Action::Hello(over) => self.named("hello", None, &over_defaults(hello(), over)),
            Action::Event(event) => self.block(&event_block(event)),
            Action::Progress(cursor) => self.block(&format!("id: {cursor}\n\n")),
            Action::CaughtUp(cursor) => {
                self.named("caught_up", Some(cursor), &json!({"cursor": cursor}))
            }
            Action::Gap(over) => self.named("gap", None, &over_defaults(gap(), over)),
            Action::Closing(closing) => {
                let retry = closing["retry_ms"].as_u64().unwrap_or(1000);
                self.block(&format!("retry: {retry}\n\n"))?;
                self.named("closing", None, closing)
            }
            Action::Raw { text, split_at } => self.pieces(text.as_bytes(), split_at),
            Action::Comments(count) => self.block(&": nothing to see here\n".repeat(*count)),
            Action::BigEvent { vid, bytes } => self.block(&event_block(&big_event(*vid, *bytes))),
            other => Err(io::Error::other(format!("not part of a stream: {other:?}"))),
        }
    }

    fn stream_head(&mut self, chunked: bool) -> io::Result<()> {
        self.chunked = chunked;
        let framing = if chunked {
            "Transfer-Encoding: chunked"
        } else {
            "Connection: close"
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
             Access-Control-Allow-Origin: *\r\n{framing}\r\n\r\n"
        );
        self.bytes(head.as_bytes())
    }

    fn answer(
        &mut self,
        status: u16,
        more: &[String],
        body: &str,
        length: usize,
    ) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} Kit\r\nContent-Length: {length}\r\n");
        if !more
            .iter()
            .any(|line| line.to_ascii_lowercase().starts_with("content-type"))
        {
            head += "Content-Type: text/plain\r\n";
        }
        for line in more {
            head += line;
            head += "\r\n";
        }
        self.bytes(format!("{head}\r\n{body}").as_bytes())
    }

    fn json(&mut self, value: &Value) -> io::Result<()> {
        let body = value.to_string();
        self.answer(
            200,
            &["Content-Type: application/json".into()],
            &body,
            body.len(),
        )
    }

    /// NDJSON lines as one streamed answer; the head only before the first.
    fn receipts(&mut self, first: u64, count: usize) -> io::Result<()> {
        if !self.chunked {
            self.chunked = true;
            self.bytes(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
                  Transfer-Encoding: chunked\r\n\r\n",
            )?;
        }
        for vid in (first..).take(count) {
            self.block(&format!(
                "{}\n",
                json!({"vid": vid, "cursor": cursor(vid, EPOCH)})
            ))?;
        }
        Ok(())
    }

    fn named(&mut self, name: &str, id: Option<&str>, data: &Value) -> io::Result<()> {
        let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
        self.block(&format!("{id}event: vidette.{name}\ndata: {data}\n\n"))
    }

    /// A piece of the stream, with the scenario's line ends.
    fn block(&mut self, text: &str) -> io::Result<()> {
        let text = text.replace('\n', &self.line_end);
        self.piece(text.as_bytes())
    }

    fn pieces(&mut self, bytes: &[u8], split_at: &[usize]) -> io::Result<()> {
        let mut from = 0;
        for to in split_at.iter().copied().chain([bytes.len()]) {
            self.piece(&bytes[from..to])?;
            sleep(APART);
            from = to;
        }
        Ok(())
    }

    fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.chunked {
            return self.bytes(bytes);
        }
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.bytes(&chunk)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.dribble {
            return self.stream.write_all(bytes);
        }
        for byte in bytes {
            self.stream.write_all(&[*byte])?;
            // Without Nagle each write is a segment; the pause lets most be read alone.
            sleep(Duration::from_micros(100));
        }
        Ok(())
    }

    /// Waits, unless the client closes: a connection that it has left is not to count as open.
    fn wait(&mut self, time: Duration) -> io::Result<After> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.stream.set_read_timeout(None)?;
                return Ok(After::Kept);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.peek(&mut [0]) {
                Ok(0) => return Ok(After::Closed),
                Ok(_) => sleep(left),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn until_handed(&self, count: usize) {
        if !self
            .record
            .wait_until(MOST_WAIT, |seen| seen.handed.len() >= count || seen.over)
        {
            let wrong = format!("{count} events and gaps were not handed on in time");
            self.record.change(|seen| seen.wrong.push(wrong));
        }
    }

    /// Writes until nothing is taken for a while, then goes on as `hold`.
    fn flood(&mut self, first: u64, most_bytes: usize) -> io::Result<After> {
        self.stream.set_write_timeout(Some(STALL))?;
        let mut written = 0;

        for vid in first.. {
            let block = event_block(&big_event(vid, 16 << 10));
            match self.piece(block.as_bytes()) {
                Ok(()) => written += block.len(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.hold(),
                Err(error) => return Err(error),
            }
            if written > most_bytes {
                let wrong = format!("{written} bytes were read while nobody took an event");
                self.record.change(|seen| seen.wrong.push(wrong));
                return self.hold();
            }
        }
        Ok(After::Closed)
    }

    fn reset(&mut self) -> io::Result<After> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(After::Closed)
    }

    /// Sends nothing more; ends when the client closes or the scenario is over.
    fn hold(&mut self) -> io::Result<After> {
        self.stream
            .set_read_timeout(Some(Duration::from_millis(20)))?;
        loop {
            match self.stream.peek(&mut [0]) {
                Ok(0) => return Ok(After::Closed),
                Ok(_) => sleep(Duration::from_millis(5)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if self.record.look(|seen| seen.over) {
                return Ok(After::Closed);
            }
        }
    }
}

pub(crate) fn cursor(vid: u64, epoch: &str) -> String {
    format!("{vid}-{epoch}")
}

fn event_json(event: &Event) -> String {
    let Event {
        vid, topic, data, ..
    } = event;
    let kind = event
        .kind
        .as_ref()
        .map_or(String::new(), |kind| format!(r#","type":"{kind}""#));
    let time = "2026-11-28T10:00:00.000Z";
    format!(r#"{{"vid":{vid},"topic":"{topic}","time":"{time}"{kind},"data":{data}}}"#)
}

fn event_block(event: &Event) -> String {
    let id = cursor(event.vid, &event.epoch);
    let kind = event
        .kind
        .as_ref()
        .map_or(String::new(), |kind| format!("event: {kind}\n"));
    format!("id: {id}\n{kind}data: {}\n\n", event_json(event))
}

fn big_event(vid: u64, bytes: usize) -> Event {
    Event {
        vid,
        epoch: EPOCH.into(),
        topic: "door.1".into(),
        kind: None,
        data: format!("\"{}\"", "x".repeat(bytes)),
    }
}

fn poll_answer(poll: &Poll) -> Value {
    let events: Vec<Value> = poll
        .events
        .iter()
        .map(|event| serde_json::from_str(&event_json(event)).unwrap_or_default())
        .collect();
    let (vid, epoch) = poll.cursor.split_once('-').unwrap_or((&poll.cursor, EPOCH));
    let vid: u64 = vid.parse().unwrap_or_default();

    let mut answer = json!({
        "epoch": epoch, "first": 1, "last": vid, "vid": vid, "cursor": poll.cursor,
        "events": events, "up_to_date": true,
    });
    if let Some(over) = &poll.gap {
        answer["gap"] = over_defaults(gap(), over);
    }
    answer
}

fn hello() -> Value {
    json!({"epoch": EPOCH, "first": 1, "last": 100, "heartbeat_ms": 15000})
}

fn gap() -> Value {
    json!({"reason": "expired", "requested": "10-k3x9q2", "first": 40, "last": 100, "epoch": EPOCH})
}

fn over_defaults(mut value: Value, over: &Value) -> Value {
    for (name, field) in over.as_object().into_iter().flatten() {
        value[name] = field.clone();
    }
    value
}
