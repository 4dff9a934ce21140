//! Messages to subscribers, encoded once for all of them.
//!
//! Invariants:
//! - an event is encoded once, and so is a batch of them, with the frame around it;
//! - a call's buffers are small: tonic's own are 8 KiB each, from the first moment.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tonic::codec::BufferSettings;
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

use super::client_proto::{self, subscribe_response};
use crate::bus::Batch;
use crate::encodings::WireForm;
use crate::event::Event;

/// Bytes that a stream's buffer begins with; it grows to what a message needs, and leaves with the
/// message.
const BUFFER_BYTES: usize = 64;
/// Messages are gathered up to this many bytes before they are handed to the connection.
const GATHER_BYTES: usize = 32 * 1024;

/// The codec of all calls: that of prost, with small buffers.
pub(crate) struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        SmallBuffers(PhantomData)
    }
}

impl<T: Message + Send + 'static, U: Message + Default + Send + 'static> tonic::codec::Codec
    for SmallBuffers<T, U>
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER_BYTES, GATHER_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER_BYTES, GATHER_BYTES))
    }
}

/// A `vidette.v1.SubscribeResponse` other than events, framed.
pub(super) fn encode(message: subscribe_response::Message) -> Bytes {
    // Its length is known before it is encoded, so the frame is allocated once.
    let message = Some(message);
    let message = client_proto::SubscribeResponse { message };
    let mut out = frame_of(message.encoded_len());
    message.encode(&mut out).expect("a vector grows");
    out.into()
}

/// A `vidette.v1.SubscribeResponse` of a batch and the cursor behind it, framed, made once for all
/// who read it together.
pub(super) fn encoded_batch(batch: &Batch, cursor: impl FnOnce() -> String) -> Bytes {
    let encode = || encode_batch(batch, &cursor());
    let message = batch.encodings.get_or_encode(WireForm::Grpc, encode);
    message.clone()
}

/// What stands before a message: that it is not compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A frame that has its prefix already, and space for a message of this length.
fn frame_of(length: usize) -> Vec<u8> {
    let prefix = u32::try_from(length).expect("a page is far below 4 GiB");
    let mut frame = Vec::with_capacity(PREFIX_BYTES + length);
    frame.push(0);
    frame.extend_from_slice(&prefix.to_be_bytes());
    frame
}

// The numbers of the fields (proto/vidette/v1).
/// `events` of `SubscribeResponse`.
const EVENTS: u32 = 2;
/// `events` of `EventBatch`.
const EVENT: u32 = 1;
/// `cursor` of `EventBatch`.
const CURSOR: u32 = 2;

/// `SubscribeResponse { events: EventBatch { events, cursor } }`, of events that are encoded
/// already.
fn encode_batch(batch: &Batch, cursor: &str) -> Vec<u8> {
    let events = encode_events(batch, cursor);
    // The length of the whole message stands before it.
    let length = key_len(EVENTS) + encoded_len_varint(events.len() as u64) + events.len();
    let mut out = frame_of(length);
    push_bytes(&mut out, EVENTS, &events);
    out
}

/// The `EventBatch` alone.
fn encode_events(batch: &Batch, cursor: &str) -> Vec<u8> {
    // With a key and a length before each event, and the cursor behind them.
    let lengths = batch.iter().map(|event| event_proto(event).len() + 8);
    let mut out = Vec::with_capacity(lengths.sum::<usize>() + 64);
    for event in batch.iter() {
        push_bytes(&mut out, EVENT, event_proto(event));
    }
    push_bytes(&mut out, CURSOR, cursor.as_bytes());
    out
}

fn push_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn event_proto(event: &Event) -> &Bytes {
    let encode = || encode_event(event);
    event.encodings.get_or_encode(WireForm::Grpc, encode)
}

pub(crate) fn encode_event(event: &Event) -> Vec<u8> {
    let sent = &event.sent;
    // In protobuf an empty text stands for none.
    let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let message = client_proto::Event {
        vid: event.vid,
        topic: sent.topic.as_str().into(),
        time: Some(timestamp(event.time_ms)),
        r#type: text(&sent.kind),
        id: text(&sent.id),
        content_type: sent.content_type.as_str().into(),
        data: sent.data.clone(),
        headers: sent.headers.iter().cloned().collect(),
    };
    message.encode_to_vec()
}

fn timestamp(time_ms: i64) -> prost_types::Timestamp {
    // Before 1970, too, the nanoseconds count forward from the second.
    let nanos = i32::try_from(time_ms.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    let seconds = time_ms.div_euclid(1000);
    prost_types::Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventParts, NewEvent};

    #[test]
    fn a_batch_reads_as_the_message_it_stands_for() {
        let data = Bytes::from(vec![b'x'; 300]);
        let parts = EventParts {
            topic: "door.1",
            data,
            ..EventParts::default()
        };
        let event = Arc::new(Event::new(
            7,
            1500,
            NewEvent::check(parts, 1000).expect("an event"),
        ));
        let expected = client_proto::EventBatch {
            events: vec![
                client_proto::Event::decode(event_proto(&event).clone()).expect("an event");
                3
            ],
            cursor: "9-abc".into(),
        };
        let batch = Batch::from(vec![event; 3]);
        let framed = encode_batch(&batch, "9-abc");
        let (prefix, message) = framed.split_at(PREFIX_BYTES);
        assert_eq!(
            prefix,
            [
                &[0][..],
                &u32::try_from(message.len()).expect("small").to_be_bytes()
            ]
            .concat()
        );
        let read = client_proto::SubscribeResponse::decode(message).expect("a message");
        assert_eq!(
            read.message,
            Some(subscribe_response::Message::Events(expected))
        );
    }
}
