//! Readers by gRPC: server streams on one HTTP/2 connection. A stream is ready once it has its
//! head.
//!
//! As much of RFC 9113 as a reader of many streams needs, so that the client costs little beside
//! the server: heads are sent as literals and read only for their status, messages are looked
//! through for markers wherever frames cut them. Invariants: windows are as large as they can be
//! and the connection's is refilled, so a server is held back by TCP alone; pings and settings are
//! answered.

use prost::Message as _;

use super::{Plan, Wire, With};
use crate::cli::bench::address::topic_name;
use crate::cli::bench::tally::Seen;
use crate::limits;
use crate::transport::proto::SubscribeRequest;

const METHOD: &str = "/vidette.v1.EventBus/Subscribe";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const MAX_WINDOW: u32 = (1 << 31) - 1;
const DEFAULT_WINDOW: u32 = 65_535;
/// The connection's window is refilled after so many bytes.
const REFILL_BYTES: u32 = 1 << 29;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// `:status: 200` in the table of HPACK.
const STATUS_200: u8 = 0x88;

pub(super) struct H2 {
    authority: String,
    run: u32,
    cursor: String,
    streams: Vec<Stream>,
    has_settings: bool,
    reading: usize,
    ended: usize,
    frame: Frame,
    unacknowledged_bytes: u32,
}

struct Stream {
    topic: usize,
    state: State,
    seen: Seen,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Asked,
    Reading,
    /// Ended while it counted.
    Lost,
    /// Ended before.
    Refused,
}

/// The frame that is being read.
#[derive(Default)]
struct Frame {
    head: Vec<u8>,
    /// What has come of its payload, unless it is data.
    payload: Vec<u8>,
    remaining: usize,
}

impl Frame {
    fn kind(&self) -> u8 {
        self.head.get(3).copied().unwrap_or_default()
    }

    fn flags(&self) -> u8 {
        self.head.get(4).copied().unwrap_or_default()
    }

    fn stream(&self) -> Option<usize> {
        let id = u32::from_be_bytes(self.head.get(5..)?.try_into().ok()?);
        usize::try_from(id).ok()?.checked_sub(1).map(|odd| odd / 2)
    }
}

impl H2 {
    pub(super) fn new(plan: &Plan, connection: usize) -> Self {
        let mine = (connection..plan.readers).step_by(plan.connections);
        let stream = |reader| Stream {
            topic: plan.first_topic + reader % plan.topics,
            state: State::Asked,
            seen: Seen::new(plan.publishers),
        };
        H2 {
            authority: plan.address.authority.clone(),
            run: plan.run,
            cursor: plan.cursor.clone(),
            streams: mine.map(stream).collect(),
            has_settings: false,
            reading: 0,
            ended: 0,
            frame: Frame::default(),
            unacknowledged_bytes: 0,
        }
    }

    /// Opens the streams, once it is known how many there may be.
    fn subscribe(&mut self, allowed: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.streams.len() > allowed {
            let wanted = self.streams.len();
            return Err(format!(
                "the server allows {allowed} streams a connection, not {wanted}: take more connections"
            ));
        }
        let head = request_head(&self.authority);
        for (index, stream) in (0_u32..).zip(&self.streams) {
            let id = 1 + 2 * index;
            frame(out, HEADERS, END_HEADERS, id, &head);
            frame(
                out,
                DATA,
                END_STREAM,
                id,
                &grpc_message(&self.request(stream.topic)),
            );
        }
        Ok(())
    }

    fn request(&self, topic: usize) -> SubscribeRequest {
        SubscribeRequest {
            topic: vec![topic_name(self.run, topic)],
            after: self.cursor.clone(),
            ..SubscribeRequest::default()
        }
    }

    /// A part of a frame's payload that has come. Data is looked at as it comes, all else once it
    /// is whole.
    fn part(&mut self, part: &[u8], with: &mut With<'_>) {
        if self.frame.kind() != DATA {
            self.frame.payload.extend_from_slice(part);
            return;
        }
        self.unacknowledged_bytes += u32::try_from(part.len()).unwrap_or_default();
        if let Some(stream) = self
            .frame
            .stream()
            .and_then(|index| self.streams.get_mut(index))
        {
            stream.seen.feed(part, with.tally);
        }
        if self.unacknowledged_bytes >= REFILL_BYTES {
            let bytes = std::mem::take(&mut self.unacknowledged_bytes);
            frame(with.out, WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes());
        }
    }

    fn whole(&mut self, with: &mut With<'_>) -> Result<(), String> {
        let Frame { head, payload, .. } = &self.frame;
        if head.len() < HEAD_BYTES {
            return Ok(());
        }
        let (kind, flags) = (self.frame.kind(), self.frame.flags());
        match kind {
            SETTINGS if flags & ACK == 0 => {
                let allowed = setting(payload, MAX_CONCURRENT_STREAMS).unwrap_or(u32::MAX);
                frame(with.out, SETTINGS, ACK, 0, &[]);
                if !std::mem::replace(&mut self.has_settings, true) {
                    self.subscribe(usize::try_from(allowed).unwrap_or(usize::MAX), with.out)?;
                }
            }
            PING if flags & ACK == 0 => frame(with.out, PING, ACK, 0, payload),
            GOAWAY => return Err("the server goes away".to_owned()),
            HEADERS if payload.first() == Some(&STATUS_200) && flags & END_STREAM == 0 => {
                self.begins();
            }
            HEADERS | DATA if flags & END_STREAM != 0 => self.ends(with.working),
            RST_STREAM => self.ends(with.working),
            _ => {}
        }
        Ok(())
    }

    fn begins(&mut self) {
        let Some(stream) = self
            .frame
            .stream()
            .and_then(|index| self.streams.get_mut(index))
        else {
            return;
        };
        if stream.state == State::Asked {
            stream.state = State::Reading;
            self.reading += 1;
        }
    }

    fn ends(&mut self, working: bool) {
        let Some(stream) = self
            .frame
            .stream()
            .and_then(|index| self.streams.get_mut(index))
        else {
            return;
        };
        if matches!(stream.state, State::Lost | State::Refused) {
            return;
        }
        let was_reading = stream.state == State::Reading;
        stream.state = if was_reading && working {
            State::Lost
        } else {
            State::Refused
        };
        self.reading -= usize::from(was_reading);
        self.ended += 1;
    }
}

impl Wire for H2 {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        let mut window = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        window.extend_from_slice(&MAX_WINDOW.to_be_bytes());
        frame(out, SETTINGS, 0, 0, &window);
        frame(
            out,
            WINDOW_UPDATE,
            0,
            0,
            &(MAX_WINDOW - DEFAULT_WINDOW).to_be_bytes(),
        );
    }

    fn take(&mut self, mut bytes: &[u8], with: &mut With<'_>) -> Result<(), String> {
        while !bytes.is_empty() {
            let missing = HEAD_BYTES - self.frame.head.len();
            if missing > 0 {
                let (part, rest) = bytes.split_at(missing.min(bytes.len()));
                self.frame.head.extend_from_slice(part);
                self.frame.remaining = length(&self.frame.head);
                bytes = rest;
            } else {
                let (part, rest) = bytes.split_at(self.frame.remaining.min(bytes.len()));
                self.frame.remaining -= part.len();
                self.part(part, with);
                bytes = rest;
            }
            if self.frame.head.len() == HEAD_BYTES && self.frame.remaining == 0 {
                self.whole(with)?;
                self.frame.head.clear();
                self.frame.payload.clear();
            }
        }
        Ok(())
    }

    fn reading(&self) -> usize {
        self.reading
    }

    fn ended(&self) -> usize {
        self.ended
    }

    fn readers(&self) -> usize {
        self.streams.len()
    }

    fn received(&self) -> Vec<(usize, u64)> {
        let counting = self
            .streams
            .iter()
            .filter(|s| matches!(s.state, State::Reading | State::Lost));
        counting.map(|s| (s.topic, s.seen.received)).collect()
    }
}

/// The length in a frame's head, as far as that has come.
fn length(head: &[u8]) -> usize {
    head.iter()
        .take(3)
        .fold(0, |length, byte| length << 8 | usize::from(*byte))
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn setting(payload: &[u8], wanted: u16) -> Option<u32> {
    let (settings, _) = payload.as_chunks::<6>();
    let named = |s: &&[u8; 6]| u16::from_be_bytes([s[0], s[1]]) == wanted;
    settings
        .iter()
        .find(named)
        .map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]))
}

/// A request's head in HPACK, all of it literals that nobody has to remember.
fn request_head(authority: &str) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let mut head = Vec::new();
    for (name, value) in fields {
        head.push(0);
        for text in [name, &value[..value.len().min(limits::BENCH_HPACK_BYTES)]] {
            head.push(u8::try_from(text.len()).unwrap_or_default());
            head.extend_from_slice(text.as_bytes());
        }
    }
    head
}

fn grpc_message(request: &SubscribeRequest) -> Vec<u8> {
    let encoded = request.encode_to_vec();
    let mut message = vec![0];
    message.extend_from_slice(
        &u32::try_from(encoded.len())
            .unwrap_or_default()
            .to_be_bytes(),
    );
    message.extend(encoded);
    message
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::bench::address::Address;
    use crate::cli::bench::load::Via;
    use crate::cli::bench::markers::Marker;
    use crate::cli::bench::tally::Tally;

    fn wire(readers: usize) -> H2 {
        let address = Address::parse("http://127.0.0.1:1").expect("an address");
        let plan = Plan {
            run: 1,
            via: Via::Grpc,
            address,
            readers,
            connections: 1,
            topics: 1,
            first_topic: 0,
            publishers: 1,
            cursor: "latest".to_owned(),
            coalesce: Duration::ZERO,
            churn: 0.0,
        };
        H2::new(&plan, 0)
    }

    fn markers(sequences: std::ops::Range<u32>) -> Vec<u8> {
        let mut text = Vec::new();
        sequences.for_each(|sequence| {
            Marker {
                run: 1,
                publisher: 0,
                sequence,
                due_us: 0,
            }
            .write(&mut text, 40);
        });
        text
    }

    /// Settings, two heads, events on the first stream whose marker is cut by a frame, a ping, and
    /// the second's end.
    fn answers() -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 2]);
        frame(&mut bytes, SETTINGS, ACK, 0, &[]);
        for stream in [1, 3] {
            frame(
                &mut bytes,
                HEADERS,
                END_HEADERS,
                stream,
                &[STATUS_200, 0x10],
            );
        }
        let data = markers(0..2);
        frame(&mut bytes, DATA, 0, 1, &data[..50]);
        frame(&mut bytes, PING, 0, 0, b"12345678");
        frame(&mut bytes, DATA, 0, 1, &data[50..]);
        frame(&mut bytes, HEADERS, END_STREAM, 3, &[0x10]);
        bytes
    }

    #[test]
    fn streams_are_followed_wherever_a_read_ends() {
        let bytes = answers();
        for cut in 0..=bytes.len() {
            let (mut wire, mut tally, mut out) = (wire(2), Tally::new(1), Vec::new());
            let mut with = With {
                tally: &mut tally,
                out: &mut out,
                working: true,
            };
            wire.take(&bytes[..cut], &mut with).expect("no fault");
            wire.take(&bytes[cut..], &mut with).expect("no fault");
            assert_eq!(
                (wire.reading(), wire.ended(), tally.delivered),
                (1, 1, 2),
                "cut at {cut}"
            );
            assert_eq!(
                wire.received(),
                [(0, 2), (0, 0)],
                "the second is expected to get what it was cut from"
            );
            let mut pong = Vec::new();
            frame(&mut pong, PING, ACK, 0, b"12345678");
            assert!(out.ends_with(&pong), "a ping is answered");
        }
    }

    #[test]
    fn more_streams_than_the_server_allows_are_a_fault() {
        let (mut tally, mut out) = (Tally::new(1), Vec::new());
        let mut with = With {
            tally: &mut tally,
            out: &mut out,
            working: false,
        };
        let fault = wire(3).take(&answers(), &mut with).expect_err("a fault");
        assert!(fault.contains("2 streams a connection, not 3"), "{fault}");
    }

    #[test]
    fn a_stream_that_is_refused_reads_nothing() {
        let (mut wire, mut tally, mut out) = (wire(1), Tally::new(1), Vec::new());
        let mut bytes = Vec::new();
        frame(&mut bytes, SETTINGS, 0, 0, &[]);
        frame(
            &mut bytes,
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &[STATUS_200, 0x10],
        );
        wire.take(
            &bytes,
            &mut With {
                tally: &mut tally,
                out: &mut out,
                working: false,
            },
        )
        .expect("no fault");
        assert_eq!(
            (wire.reading(), wire.ended(), wire.received().len()),
            (0, 1, 0)
        );
    }
}
