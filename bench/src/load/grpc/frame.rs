//! Frames of HTTP/2 (RFC 9113 §4, §6), and the head and message of a gRPC request.
//!
//! Invariant: heads are literals in HPACK (RFC 7541 §6.2.2), so neither side has to keep a table.

use prost::Message as _;

use crate::address::Address;
use crate::limits;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const HEAD_BYTES: usize = 9;
pub(super) const MAX_WINDOW: u32 = (1 << 31) - 1;
pub(super) const DEFAULT_WINDOW: u32 = 65_535;
/// The connection's window is refilled after so many bytes.
pub(super) const REFILL_BYTES: u32 = 1 << 29;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
/// `:status: 200` in the table of HPACK.
pub(super) const STATUS_200: u8 = 0x88;

/// `vidette.v1.SubscribeRequest`, as far as a reader here fills it in.
#[derive(Clone, PartialEq, prost::Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    topic: Vec<String>,
    #[prost(string, tag = "2")]
    after: String,
}

/// The frame that is being read.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) head: Vec<u8>,
    /// The part of its payload that has come, unless it is data.
    pub(super) payload: Vec<u8>,
    pub(super) remaining: usize,
}

impl Frame {
    pub(super) fn kind(&self) -> u8 {
        self.head.get(3).copied().unwrap_or_default()
    }

    pub(super) fn flags(&self) -> u8 {
        self.head.get(4).copied().unwrap_or_default()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.head.len() == HEAD_BYTES && self.remaining == 0
    }

    pub(super) fn clear(&mut self) {
        self.head.clear();
        self.payload.clear();
    }

    /// The place of its stream among those of the client, whose numbers are odd.
    pub(super) fn stream(&self) -> Option<usize> {
        let id = u32::from_be_bytes(self.head.get(5..)?.try_into().ok()?);

        // Number 0 is the connection itself, which is no stream.
        usize::try_from(id).ok()?.checked_sub(1).map(|odd| odd / 2)
    }
}

/// The length in a frame's head, or in the part of the head that has come.
pub(super) fn length(head: &[u8]) -> usize {
    head.iter()
        .take(3)
        .fold(0, |length, byte| length << 8 | usize::from(*byte))
}

pub(super) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // A length has three bytes, the lower ones of the number.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

pub(super) fn setting(payload: &[u8], wanted: u16) -> Option<u32> {
    // Each setting has a name of two bytes and a value of four.
    let (settings, _) = payload.as_chunks::<6>();
    let named = |s: &&[u8; 6]| u16::from_be_bytes([s[0], s[1]]) == wanted;
    let found = settings.iter().find(named);
    found.map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]))
}

/// A request's head in HPACK, all of it literals that are not put into a table.
pub(super) fn request_head(
    address: &Address,
    method: &str,
    authorization: Option<&str>,
) -> Vec<u8> {
    let scheme = match address.server_name {
        Some(_) => "https",
        None => "http",
    };
    let fields = [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", method),
        (":authority", &address.authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let authorization = authorization.map(|value| ("authorization", value));
    let mut head = Vec::new();
    for (name, value) in fields.into_iter().chain(authorization) {
        // A literal that is not indexed, with a name that is spelled out.
        head.push(0);
        push_text(&mut head, name);
        push_text(&mut head, &value[..value.len().min(limits::HPACK_BYTES)]);
    }
    head
}

fn push_text(head: &mut Vec<u8>, text: &str) {
    push_length(head, text.len());
    head.extend_from_slice(text.as_bytes());
}

/// A length (RFC 7541 §5.1) in a byte whose highest bit, left clear, means no Huffman code; what
/// those seven bits do not hold follows in groups of seven, the lowest first.
fn push_length(head: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(usize::from(LENGTH_BITS)) else {
        return head.push(low_byte(length));
    };
    head.push(LENGTH_BITS);
    while rest > usize::from(LENGTH_BITS) {
        head.push(low_byte(rest & usize::from(LENGTH_BITS)) | !LENGTH_BITS);
        rest >>= 7;
    }
    head.push(low_byte(rest));
}

/// Seven bits of a byte.
const LENGTH_BITS: u8 = 0x7f;

fn low_byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

pub(super) fn subscribe_request(topic: String, after: String) -> Vec<u8> {
    let request = SubscribeRequest {
        topic: vec![topic],
        after,
    };
    request.encode_to_vec()
}

/// A message in its frame of gRPC.
pub(super) fn grpc_message(encoded: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(encoded.len()).unwrap_or_default();

    // The first byte says that the message is not compressed.
    let mut message = vec![0];
    message.extend_from_slice(&length.to_be_bytes());
    message.extend(encoded);
    message
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_length_that_seven_bits_do_not_hold_takes_more_bytes() {
        for (length, bytes) in [
            (0, &[0][..]),
            (126, &[126]),
            (127, &[127, 0]),
            (254, &[127, 127]),
            (255, &[127, 128, 1]),
            (300, &[127, 173, 1]),
            (8208, &[127, 0x91, 63]),
        ] {
            let mut head = Vec::new();
            super::push_length(&mut head, length);
            assert_eq!(head, bytes, "{length}");
        }
    }
}
