//! Readers by gRPC: server streams on one HTTP/2 connection. A stream is ready once it has its
//! head.
//!
//! As much of RFC 9113 as a reader of many streams needs, so that the client costs little beside
//! the server: heads are sent as literals and read only for their status, messages are looked
//! through for markers wherever frames cut them. Invariants: windows are as large as they can be
//! and the connection's is refilled, so a server is held back by TCP alone; pings and settings are
//! answered.

mod frame;
#[cfg(test)]
mod tests;

use frame::{
    ACK, DATA, DEFAULT_WINDOW, END_HEADERS, END_STREAM, Frame, GOAWAY, HEAD_BYTES, HEADERS,
    INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_WINDOW, PING, PREFACE, REFILL_BYTES,
    RST_STREAM, SETTINGS, STATUS_200, SubscribeRequest, WINDOW_UPDATE, frame, grpc_message, length,
    request_head, setting,
};

use super::{Plan, Wire, With};
use crate::address::topic_name;
use crate::tally::Seen;

pub(crate) struct H2 {
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

impl H2 {
    pub(crate) fn new(plan: &Plan, connection: usize) -> Self {
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
