//! Gearman's binary protocol, as far as a worker needs it; without any input or output.
//!
//! Invariants:
//! - at most `max_body_bytes` of a packet's body are kept; the rest is counted and skipped, so no
//!   length that a server announces takes more memory than that;
//! - whatever bytes come in, decoding yields a packet, an error, or a request for more bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::source::work::SourceError;

const REQUEST: &[u8; 4] = b"\0REQ";
const RESPONSE: &[u8; 4] = b"\0RES";
const HEAD_BYTES: usize = 12;

/// Numbers of packet types, as the protocol assigns them.
mod packet_type {
    pub(super) const CAN_DO: u32 = 1;
    pub(super) const PRE_SLEEP: u32 = 4;
    pub(super) const NOOP: u32 = 6;
    pub(super) const NO_JOB: u32 = 10;
    pub(super) const WORK_COMPLETE: u32 = 13;
    pub(super) const ECHO_REQ: u32 = 16;
    pub(super) const ECHO_RES: u32 = 17;
    pub(super) const ERROR: u32 = 19;
    pub(super) const SET_CLIENT_ID: u32 = 22;
    pub(super) const WORK_EXCEPTION: u32 = 25;
    pub(super) const GRAB_JOB_UNIQ: u32 = 30;
    pub(super) const JOB_ASSIGN_UNIQ: u32 = 31;
}

/// A packet that a worker sends.
#[derive(Debug, Clone, Copy)]
pub(super) enum WorkerRequest<'a> {
    CanDo {
        function: &'a str,
    },
    SetClientId {
        name: &'a str,
    },
    /// Asks for a job with its unique id.
    GrabJob,
    /// Asks to be notified when there is a job.
    PreSleep,
    WorkComplete {
        handle: &'a [u8],
        result: &'a [u8],
    },
    WorkException {
        handle: &'a [u8],
        reason: &'a [u8],
    },
    Echo {
        data: &'a [u8],
    },
}

impl WorkerRequest<'_> {
    /// Appends the packet.
    pub(super) fn encode(self, out: &mut BytesMut) {
        let (first, second) = self.arguments();
        let length = first.len() + second.map_or(0, |second| 1 + second.len());

        // The head: magic, type, and the length of what follows. Results and reasons are short, so
        // the length always fits.
        out.put_slice(REQUEST);
        out.put_u32(self.packet_type());
        out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));

        // The last argument ends with the packet, all others with a zero byte.
        out.put_slice(first);
        if let Some(second) = second {
            out.put_u8(0);
            out.put_slice(second);
        }
    }

    fn packet_type(self) -> u32 {
        match self {
            WorkerRequest::CanDo { .. } => packet_type::CAN_DO,
            WorkerRequest::PreSleep => packet_type::PRE_SLEEP,
            WorkerRequest::WorkComplete { .. } => packet_type::WORK_COMPLETE,
            WorkerRequest::Echo { .. } => packet_type::ECHO_REQ,
            WorkerRequest::SetClientId { .. } => packet_type::SET_CLIENT_ID,
            WorkerRequest::WorkException { .. } => packet_type::WORK_EXCEPTION,
            WorkerRequest::GrabJob => packet_type::GRAB_JOB_UNIQ,
        }
    }
}

impl<'a> WorkerRequest<'a> {
    /// The packet's arguments, which a zero byte separates.
    fn arguments(self) -> (&'a [u8], Option<&'a [u8]>) {
        match self {
            WorkerRequest::CanDo { function } => (function.as_bytes(), None),
            WorkerRequest::SetClientId { name } => (name.as_bytes(), None),
            WorkerRequest::Echo { data } => (data, None),
            WorkerRequest::WorkComplete { handle, result } => (handle, Some(result)),
            WorkerRequest::WorkException { handle, reason } => (handle, Some(reason)),
            WorkerRequest::GrabJob | WorkerRequest::PreSleep => (b"", None),
        }
    }
}

/// A packet that a job server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ServerResponse {
    /// There may be a job.
    Noop,
    NoJob,
    Job(GearmanJob),
    Echo,
    Error {
        code: String,
        text: String,
    },
    /// Nothing that a worker asked for.
    Other(u32),
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GearmanJob {
    pub(super) handle: Bytes,
    pub(super) unique: Bytes,
    /// At most `max_body_bytes` of it.
    pub(super) workload: Bytes,
    /// Its full length.
    pub(super) workload_bytes: u64,
}

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
    fn a_workers_packets_are_as_the_protocol_has_them() {
        let encoded = |request: WorkerRequest<'_>| {
            let mut out = BytesMut::new();
            request.encode(&mut out);
            out.to_vec()
        };
        assert_eq!(
            encoded(WorkerRequest::CanDo { function: "f" }),
            b"\0REQ\0\0\0\x01\0\0\0\x01f"
        );
        assert_eq!(encoded(WorkerRequest::GrabJob), b"\0REQ\0\0\0\x1e\0\0\0\0");
        let complete = WorkerRequest::WorkComplete {
            handle: b"H:a:1",
            result: b"42",
        };
        assert_eq!(encoded(complete), b"\0REQ\0\0\0\x0d\0\0\0\x08H:a:1\x0042");
        let exception = WorkerRequest::WorkException {
            handle: b"H:a:1",
            reason: b"",
        };
        assert_eq!(encoded(exception), b"\0REQ\0\0\0\x19\0\0\0\x06H:a:1\0");
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
