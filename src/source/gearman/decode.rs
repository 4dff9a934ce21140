//! From bytes to the packets of a job server.
//!
//! Invariants:
//! - at most `max_body_bytes` of a packet's body are kept; the rest is counted and skipped, so no
//!   length that a server announces takes more memory than that;
//! - whatever bytes come in, decoding yields a packet, an error, or a request for more bytes.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::packet::{GearmanJob, HEAD_BYTES, RESPONSE, ServerResponse, packet_type};
use crate::source::work::SourceError;

/// From bytes to packets.
#[derive(Debug)]
pub(super) struct PacketDecoder {
    max_body_bytes: usize,
    stage: DecodeStage,
}

#[derive(Debug)]
enum DecodeStage {
    Head,
    Body {
        kind: u32,
        length: usize,
    },
    /// The part of a body that is not kept.
    Rest {
        response: ServerResponse,
        left: usize,
    },
}

impl PacketDecoder {
    pub(super) fn new(max_body_bytes: usize) -> Self {
        PacketDecoder {
            max_body_bytes,
            stage: DecodeStage::Head,
        }
    }

    /// Goes on to the next stage; `None` until more bytes have come.
    fn advance(&mut self, bytes: &mut BytesMut) -> Result<Option<DecodeStage>, SourceError> {
        match &mut self.stage {
            DecodeStage::Head => take_head(bytes),
            DecodeStage::Body { kind, length } => {
                take_body(*kind, *length, self.max_body_bytes, bytes)
            }
            DecodeStage::Rest { .. } => Ok(None),
        }
    }
}

impl Decoder for PacketDecoder {
    type Item = ServerResponse;
    type Error = SourceError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<ServerResponse>, SourceError> {
        while let Some(next) = self.advance(bytes)? {
            self.stage = next;
        }

        // Of a packet whose kept part is read, the rest still has to be skipped.
        let DecodeStage::Rest { left, .. } = &mut self.stage else {
            return Ok(None);
        };
        skip(bytes, left);
        if *left > 0 {
            return Ok(None);
        }
        match std::mem::replace(&mut self.stage, DecodeStage::Head) {
            DecodeStage::Rest { response, .. } => Ok(Some(response)),
            DecodeStage::Head | DecodeStage::Body { .. } => Ok(None),
        }
    }
}

fn skip(bytes: &mut BytesMut, left: &mut usize) {
    let skipped = (*left).min(bytes.len());
    bytes.advance(skipped);
    *left -= skipped;
}

fn take_head(bytes: &mut BytesMut) -> Result<Option<DecodeStage>, SourceError> {
    let Some(head) = bytes.first_chunk().copied() else {
        return Ok(None);
    };
    bytes.advance(HEAD_BYTES);
    read_head(head).map(Some)
}

fn read_head(head: [u8; HEAD_BYTES]) -> Result<DecodeStage, SourceError> {
    // Without the right magic the length that follows would mean nothing.
    let (magic, mut numbers) = head.split_at(4);
    if magic != RESPONSE {
        return Err(not_a_job_server());
    }
    let (kind, length) = (numbers.get_u32(), numbers.get_u32() as usize);
    Ok(DecodeStage::Body { kind, length })
}

fn take_body(
    kind: u32,
    length: usize,
    max_body_bytes: usize,
    bytes: &mut BytesMut,
) -> Result<Option<DecodeStage>, SourceError> {
    // The beginning is enough for a dead letter that says how long the workload was.
    let kept = length.min(max_body_bytes);
    if bytes.len() < kept {
        // What was announced beyond the bound is never reserved.
        bytes.reserve(kept - bytes.len());
        return Ok(None);
    }
    let response = read_body(kind, length, bytes.split_to(kept).freeze())?;
    let left = length - kept;
    Ok(Some(DecodeStage::Rest { response, left }))
}

fn read_body(kind: u32, length: usize, body: Bytes) -> Result<ServerResponse, SourceError> {
    Ok(match kind {
        packet_type::NOOP => ServerResponse::Noop,
        packet_type::NO_JOB => ServerResponse::NoJob,
        packet_type::ECHO_RES => ServerResponse::Echo,
        packet_type::ERROR => read_error(body),
        packet_type::JOB_ASSIGN_UNIQ => ServerResponse::Job(read_job(length, &body)?),
        other => ServerResponse::Other(other),
    })
}

fn read_error(mut body: Bytes) -> ServerResponse {
    // Both are for people; what is not UTF-8 is shown as far as possible.
    let code = take_argument(&mut body).unwrap_or_default();
    ServerResponse::Error {
        code: String::from_utf8_lossy(&code).into_owned(),
        text: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// Handle, function and unique id, each followed by a zero byte, then the workload.
fn read_job(length: usize, body: &Bytes) -> Result<GearmanJob, SourceError> {
    let mut rest = body.clone();
    let mut next = || take_argument(&mut rest).ok_or_else(incomplete_job);
    let (handle, _function, unique) = (next()?, next()?, next()?);

    // The workload may be cut, so its length comes from the head of the packet.
    let before = body.len() - rest.len();
    Ok(GearmanJob {
        handle,
        unique,
        workload: rest,
        workload_bytes: (length - before) as u64,
    })
}

/// Takes the bytes before the next zero byte.
fn take_argument(rest: &mut Bytes) -> Option<Bytes> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let argument = rest.split_to(end);
    rest.advance(1);
    Some(argument)
}

fn not_a_job_server() -> SourceError {
    SourceError::new("no Gearman job server answers at this address (source.gearman.servers)")
}

fn incomplete_job() -> SourceError {
    SourceError::new("the job server sent a job without a handle, a function or a unique id")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("a short body");
        [
            RESPONSE,
            &kind.to_be_bytes()[..],
            &length.to_be_bytes(),
            body,
        ]
        .concat()
    }

    fn job(workload: &[u8], workload_bytes: u64) -> ServerResponse {
        let part = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        ServerResponse::Job(GearmanJob {
            handle: part(b"H:a:1"),
            unique: part(b"u1"),
            workload: part(workload),
            workload_bytes,
        })
    }

    /// Decodes what comes in pieces of this size.
    fn decode(
        bytes: &[u8],
        piece_bytes: usize,
        max_body_bytes: usize,
    ) -> Result<Vec<ServerResponse>, SourceError> {
        let (mut packets, mut buffer) = (PacketDecoder::new(max_body_bytes), BytesMut::new());
        let mut decoded = Vec::new();
        for piece in bytes.chunks(piece_bytes.max(1)) {
            buffer.extend_from_slice(piece);
            while let Some(response) = packets.decode(&mut buffer)? {
                decoded.push(response);
            }
        }
        Ok(decoded)
    }

    #[test]
    fn packets_are_read_however_they_come() {
        let bytes = [
            response(10, b""),
            response(31, b"H:a:1\0getmsg\0u1\0work\0load"),
            response(19, b"CODE\0a text"),
            response(6, b""),
            response(99, b"?"),
        ]
        .concat();
        let expected = [
            ServerResponse::NoJob,
            job(b"work\0load", 9),
            ServerResponse::Error {
                code: "CODE".to_owned(),
                text: "a text".to_owned(),
            },
            ServerResponse::Noop,
            ServerResponse::Other(99),
        ];
        for piece_bytes in 1..bytes.len() {
            assert_eq!(
                decode(&bytes, piece_bytes, 1000).expect("packets"),
                expected
            );
        }
    }

    #[test]
    fn of_a_body_that_is_too_long_only_the_beginning_is_kept() {
        let bytes = [
            response(31, &[b"H:a:1\0f\0u1\0", &[b'x'; 100][..]].concat()),
            response(10, b""),
        ]
        .concat();
        for piece_bytes in 1..bytes.len() {
            let expected = [job(&[b'x'; 20], 100), ServerResponse::NoJob];
            assert_eq!(decode(&bytes, piece_bytes, 31).expect("packets"), expected);
        }
    }

    #[test]
    fn a_server_of_another_protocol_and_an_incomplete_job_are_errors() {
        assert!(decode(b"HTTP/1.1 400 Bad Request\r\n", 100, 100).is_err());
        assert!(decode(&response(31, b"H:a:1\0f"), 100, 100).is_err());
    }

    /// A type, a body, and whether the body's last byte is missing.
    fn any_packet() -> impl Strategy<Value = (u32, Vec<u8>, bool)> {
        let body = prop::collection::vec(any::<u8>(), 0..60);
        (0u32..40, body, any::<bool>())
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic_or_keep_more_than_it_may(
            kinds in prop::collection::vec(any_packet(), 0..8),
            noise in prop::collection::vec(any::<u8>(), 0..40),
            piece_bytes in 1usize..50,
            max_body_bytes in 0usize..50,
        ) {
            let mut bytes = Vec::new();
            for (kind, body, is_cut) in &kinds {
                let packet = response(*kind, body);
                let cut = usize::from(*is_cut && !body.is_empty());
                bytes.extend_from_slice(&packet[..packet.len() - cut]);
            }
            bytes.extend(noise);
            for response in decode(&bytes, piece_bytes, max_body_bytes).unwrap_or_default() {
                if let ServerResponse::Job(job) = response {
                    prop_assert!(job.workload.len() <= max_body_bytes);
                    prop_assert!(job.workload.len() as u64 <= job.workload_bytes);
                }
            }
        }
    }
}
