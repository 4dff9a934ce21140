//! Publish requests, counted before they are decoded.
//!
//! Two bytes of protobuf can stand for 300 in memory. Invariants:
//! - a request with too many events, or an event with too many headers, is refused before it is
//!   decoded;
//! - what a message takes when it is decoded is paid from the memory budget, until it is dropped.

use bytes::Buf as _;
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::encoded::SmallBuffers;
use super::proto;
use crate::error::Result;
use crate::event::too_many_headers;
use crate::limits;
use crate::memory::{MemoryBudget, MemoryKind, Reservation};
use crate::transport::counted::too_many_events;
use crate::transport::event_input::of_batch;

/// A decoded event without its texts and data, in bytes, with what is made of it for the queue.
const EVENT_BYTES: usize = 512;
/// A decoded header without its texts: its place in a map, and two allocations.
const HEADER_BYTES: usize = 160;

/// A request, and what it costs until it is dropped.
pub(super) struct PaidRequest {
    pub(super) message: proto::PublishRequest,
    /// None for a small one.
    pub(super) held: Option<Reservation>,
}

/// The codec of the calls that publish.
#[derive(Clone)]
pub(super) struct PublishCodec(pub(super) MemoryBudget);

impl Codec for PublishCodec {
    type Encode = proto::PublishResponse;
    type Decode = PaidRequest;
    type Encoder = ProstEncoder<proto::PublishResponse>;
    type Decoder = PublishDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        PlainCodec::default().encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        PublishDecoder {
            plain: PlainCodec::default().decoder(),
            memory: self.0.clone(),
        }
    }
}

type PlainCodec = SmallBuffers<proto::PublishResponse, proto::PublishRequest>;

pub(super) struct PublishDecoder {
    plain: ProstDecoder<proto::PublishRequest>,
    memory: MemoryBudget,
}

impl Decoder for PublishDecoder {
    type Item = PaidRequest;
    type Error = Status;

    fn decode(
        &mut self,
        source: &mut DecodeBuf<'_>,
    ) -> std::result::Result<Option<PaidRequest>, Status> {
        // The whole message lies in one piece of memory.
        let decoded_bytes = decoded_bytes(source.chunk())?;
        let held = self.pay(decoded_bytes)?;
        let message = self.plain.decode(source)?;
        Ok(message.map(|message| PaidRequest { message, held }))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.plain.buffer_settings()
    }
}

// The numbers of the fields (proto/vidette/v1).
/// `events` of `PublishRequest`.
const EVENTS: u32 = 1;
/// `headers` of `NewEvent`.
const HEADERS: u32 = 8;

impl PublishDecoder {
    /// Small messages are free: most are, and paying costs more than they take.
    fn pay(&self, bytes: usize) -> Result<Option<Reservation>> {
        if bytes < limits::PAID_FROM_BYTES {
            return Ok(None);
        }
        let held = self.memory.reserve(MemoryKind::Decoded, bytes)?;
        Ok(Some(held))
    }
}

/// What a `PublishRequest` takes in memory when it is decoded, about.
///
/// # Errors
/// Too large for too many events, a bad request for too many headers.
fn decoded_bytes(message: &[u8]) -> Result<usize> {
    let (mut events, mut headers) = (0, 0);
    each_value(message, EVENTS, |event| {
        // Checked before the event is looked into, so that the work is bounded, too.
        if events == limits::MAX_BATCH_EVENTS {
            return Err(too_many_events());
        }
        headers += count_headers(event).map_err(|error| of_batch(error, events))?;
        events += 1;
        Ok(())
    })?;

    // The texts and data are copied, and each event and header takes something by itself.
    Ok(message.len() + events * EVENT_BYTES + headers * HEADER_BYTES)
}

fn count_headers(event: &[u8]) -> Result<usize> {
    let mut headers = 0;
    each_value(event, HEADERS, |_| {
        headers += 1;
        if headers > limits::MAX_HEADERS {
            return Err(too_many_headers());
        }
        Ok(())
    })?;
    Ok(headers)
}

/// Visits each value of a field of bytes or messages. Ends where the message cannot be read: its
/// decoder reports that, and makes nothing of what follows.
fn each_value(
    mut message: &[u8],
    field: u32,
    mut visit: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    while let Ok(Some(value)) = next_value(&mut message, field) {
        visit(value)?;
    }
    Ok(())
}

/// The next value of that field; none at the end.
fn next_value<'m>(message: &mut &'m [u8], field: u32) -> ReadResult<Option<&'m [u8]>> {
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(message)?;
        if tag == field && wire_type == WireType::LengthDelimited {
            return split_value(message);
        }
        // Fields that are not counted are passed over, also those that nobody knows.
        skip_field(wire_type, tag, message, DecodeContext::default())?;
    }
    Ok(None)
}

type ReadResult<T> = std::result::Result<T, DecodeError>;

/// The value behind its length; none where the message breaks off within it.
fn split_value<'m>(message: &mut &'m [u8]) -> ReadResult<Option<&'m [u8]>> {
    let length = usize::try_from(decode_varint(message)?).unwrap_or(usize::MAX);
    Ok(message.split_at_checked(length).map(|(value, rest)| {
        *message = rest;
        value
    }))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::error::ErrorKind;

    fn request(events: usize, headers: usize) -> Vec<u8> {
        let headers = (0..headers)
            .map(|n| (n.to_string(), String::new()))
            .collect();
        let event = proto::NewEvent {
            topic: "door.1".into(),
            data: vec![b'x'; 100].into(),
            headers,
            ..proto::NewEvent::default()
        };
        let events = vec![event; events];
        proto::PublishRequest { events }.encode_to_vec()
    }

    #[test]
    fn a_request_is_counted_without_being_decoded() {
        let bytes = request(3, 2);
        let expected = bytes.len() + 3 * EVENT_BYTES + 6 * HEADER_BYTES;
        assert_eq!(decoded_bytes(&bytes).expect("a request"), expected);
        let most = request(2, limits::MAX_HEADERS);
        decoded_bytes(&most).expect("as many headers as may be");

        let empty_events = [0x0a, 0x00].repeat(limits::MAX_BATCH_EVENTS + 1);
        let error = decoded_bytes(&empty_events).expect_err("too many events");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let error = decoded_bytes(&request(2, limits::MAX_HEADERS + 1)).expect_err("headers");
        assert_eq!(
            error.to_string(),
            "event 1 of the batch: more than 32 headers"
        );
    }

    #[test]
    fn what_cannot_be_read_is_counted_up_to_there() {
        let two = request(2, 0);
        for broken in [&two[..two.len() - 1], &[&two[..], b"\x0a\xff"].concat()] {
            let bytes = decoded_bytes(broken).expect("a count");
            assert!(bytes <= broken.len() + 2 * EVENT_BYTES, "{bytes}");
            proto::PublishRequest::decode(broken).expect_err("broken");
        }
        // Fields that nobody knows are passed over.
        let unknown = [&b"\x10\x05\x1a\x01x"[..], &two].concat();
        assert_eq!(
            decoded_bytes(&unknown).expect("a request"),
            unknown.len() + 2 * EVENT_BYTES
        );
    }
}
