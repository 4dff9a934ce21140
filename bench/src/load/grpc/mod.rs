//! Readers by gRPC: server streams on one HTTP/2 connection. A stream is ready once it has the head
//! of its answer.
//!
//! As much of RFC 9113 as a reader of many streams needs, so that the client costs little beside
//! the server: heads are sent as literals and read only for their status, and messages are scanned
//! for markers wherever frames cut them. Invariants: windows are as large as possible and the
//! connection's is refilled, so a server is held back by TCP alone; pings and settings are
//! answered.

mod frame;
#[cfg(test)]
mod tests;

use frame::{
    ACK, DATA, DEFAULT_WINDOW, END_HEADERS, END_STREAM, Frame, GOAWAY, HEAD_BYTES, HEADERS,
    INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_WINDOW, PING, PREFACE, REFILL_BYTES,
    RST_STREAM, SETTINGS, STATUS_200, WINDOW_UPDATE, frame, grpc_message, length, request_head,
    setting, subscribe_request,
};

use std::sync::Arc;

use super::ReaderPlan;
use super::wire::{Wire, WireContext};
use crate::access::Access;
use crate::address::{Address, AddressValues, topic_name};
use crate::tally::ReceivedEvents;
use crate::template::MessageTemplate;

pub(super) struct GrpcWire {
    address: Address,
    access: Arc<Access>,
    run: u32,
    cursor: String,
    /// The request of another server's method.
    template: Option<MessageTemplate>,
    streams: Vec<GrpcStream>,
    has_settings: bool,
    reading: usize,
    ended: usize,
    frame: Frame,
    unacknowledged_bytes: u32,
}

struct GrpcStream {
    topic: usize,
    state: StreamState,
    events: ReceivedEvents,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Asked,
    Reading,
    /// Ended while the run counted.
    Lost,
    /// Ended before.
    Refused,
}

impl GrpcWire {
    pub(super) fn new(plan: &ReaderPlan, connection: usize) -> Self {
        // Readers are dealt out in turn, so that every connection has its share of each topic.
        let readers = (connection..plan.readers).step_by(plan.connections);
        GrpcWire {
            address: plan.address.clone(),
            access: plan.access.clone(),
            run: plan.run,
            cursor: plan.cursor.clone(),
            template: plan.grpc_request.clone(),
            streams: readers
                .map(|reader| GrpcStream::new(plan, reader))
                .collect(),
            has_settings: false,
            reading: 0,
            ended: 0,
            frame: Frame::default(),
            unacknowledged_bytes: 0,
        }
    }

    /// Opens the streams, once the settings say how many are allowed.
    fn subscribe(&mut self, allowed: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.streams.len() > allowed {
            return Err(too_many_streams(self.streams.len(), allowed));
        }

        // The head is the same for all streams; the message names the topic.
        let authorization = self.access.authorization();
        let head = request_head(&self.address, &self.method(), authorization.as_deref());
        for (index, stream) in (0_u32..).zip(&self.streams) {
            // A client's streams have odd numbers.
            let id = 1 + 2 * index;
            let message = grpc_message(self.request(stream.topic));
            frame(out, HEADERS, END_HEADERS, id, &head);
            frame(out, DATA, END_STREAM, id, &message);
        }
        Ok(())
    }

    /// The path of a call is its method.
    fn method(&self) -> String {
        self.address.path(AddressValues {
            run: self.run,
            topic: 0,
            cursor: &self.cursor,
        })
    }

    fn request(&self, topic: usize) -> Vec<u8> {
        let topic = topic_name(self.run, topic);
        match &self.template {
            Some(template) => template.fill(&topic, &self.cursor),
            None => subscribe_request(topic, self.cursor.clone()),
        }
    }

    /// The stream of the frame that is being read.
    fn stream(&mut self) -> Option<&mut GrpcStream> {
        let index = self.frame.stream()?;
        self.streams.get_mut(index)
    }

    /// Takes a part of a frame's payload. Data is scanned as it comes, everything else once it is
    /// complete.
    fn take_part(&mut self, part: &[u8], context: &mut WireContext<'_>) {
        if self.frame.kind() != DATA {
            self.frame.payload.extend_from_slice(part);
            return;
        }

        // The connection's window counts the bytes of all streams, whatever becomes of them.
        self.unacknowledged_bytes += u32::try_from(part.len()).unwrap_or_default();
        if let Some(stream) = self.stream() {
            stream.events.feed(part, context.tally);
        }

        // Long before the window is used up, so that the server never waits for it.
        if self.unacknowledged_bytes >= REFILL_BYTES {
            let bytes = std::mem::take(&mut self.unacknowledged_bytes);
            frame(context.out, WINDOW_UPDATE, 0, 0, &bytes.to_be_bytes());
        }
    }

    /// Handles a complete frame.
    fn take_frame(&mut self, context: &mut WireContext<'_>) -> Result<(), String> {
        let (kind, flags) = (self.frame.kind(), self.frame.flags());

        // A head that does not begin with this status is a refusal, or trailers at the end.
        let is_200 = self.frame.payload.first() == Some(&STATUS_200);
        match kind {
            SETTINGS if flags & ACK == 0 => self.take_settings(context.out)?,
            PING if flags & ACK == 0 => frame(context.out, PING, ACK, 0, &self.frame.payload),
            GOAWAY => return Err("the server is going away".to_owned()),
            HEADERS if is_200 && flags & END_STREAM == 0 => self.stream_begins(),
            HEADERS | DATA if flags & END_STREAM != 0 => self.stream_ends(context.working),
            RST_STREAM => self.stream_ends(context.working),
            _ => {}
        }
        Ok(())
    }

    fn take_settings(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        // Every change of settings has to be acknowledged (RFC 9113 §6.5.3).
        frame(out, SETTINGS, ACK, 0, &[]);

        // Later settings change nothing for streams that are open.
        if std::mem::replace(&mut self.has_settings, true) {
            return Ok(());
        }

        // A server that names no bound on streams sets none.
        let allowed = setting(&self.frame.payload, MAX_CONCURRENT_STREAMS).unwrap_or(u32::MAX);
        self.subscribe(usize::try_from(allowed).unwrap_or(usize::MAX), out)
    }

    fn stream_begins(&mut self) {
        let Some(stream) = self.stream() else { return };

        // A second head, which is not to be expected, must not count the stream twice.
        if stream.state == StreamState::Asked {
            stream.state = StreamState::Reading;
            self.reading += 1;
        }
    }

    fn stream_ends(&mut self, working: bool) {
        let Some(stream) = self.stream() else { return };

        // A reset may follow the end of a stream; it is one end all the same.
        if stream.has_ended() {
            return;
        }

        // One that ends before it has read was refused, whenever that happens.
        let was_reading = stream.state == StreamState::Reading;
        stream.state = if was_reading && working {
            StreamState::Lost
        } else {
            StreamState::Refused
        };
        self.reading -= usize::from(was_reading);
        self.ended += 1;
    }

    /// Takes as much as belongs to the current frame. Returns the rest.
    fn take_some<'b>(&mut self, bytes: &'b [u8], context: &mut WireContext<'_>) -> &'b [u8] {
        let missing = HEAD_BYTES - self.frame.head.len();
        if missing > 0 {
            // Only a complete head says how long the frame is; until then this is not used.
            let (part, rest) = bytes.split_at(missing.min(bytes.len()));
            self.frame.head.extend_from_slice(part);
            self.frame.remaining = length(&self.frame.head);
            return rest;
        }

        // A read may end anywhere, so the payload is taken in parts, too.
        let (part, rest) = bytes.split_at(self.frame.remaining.min(bytes.len()));
        self.frame.remaining -= part.len();
        self.take_part(part, context);
        rest
    }
}

impl GrpcStream {
    fn new(plan: &ReaderPlan, reader: usize) -> Self {
        GrpcStream {
            topic: plan.topic_of(reader),
            state: StreamState::Asked,
            events: ReceivedEvents::new(plan.publishers),
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, StreamState::Lost | StreamState::Refused)
    }

    /// Is it expected to receive everything?
    fn counts(&self) -> bool {
        matches!(self.state, StreamState::Reading | StreamState::Lost)
    }
}

fn too_many_streams(wanted: usize, allowed: usize) -> String {
    format!(
        "the server allows {allowed} streams a connection, not {wanted}: use more connections (-c)"
    )
}

impl Wire for GrpcWire {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(PREFACE);
        let mut window = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        window.extend_from_slice(&MAX_WINDOW.to_be_bytes());
        frame(out, SETTINGS, 0, 0, &window);

        // The settings are for streams; the connection has a window of its own.
        let more = MAX_WINDOW - DEFAULT_WINDOW;
        frame(out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
    }

    fn take(&mut self, mut bytes: &[u8], context: &mut WireContext<'_>) -> Result<(), String> {
        while !bytes.is_empty() {
            bytes = self.take_some(bytes, context);
            // A frame without a payload is complete with its head.
            if self.frame.is_complete() {
                self.take_frame(context)?;
                self.frame.clear();
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
        let counting = self.streams.iter().filter(|s| s.counts());
        counting.map(|s| (s.topic, s.events.received)).collect()
    }
}
