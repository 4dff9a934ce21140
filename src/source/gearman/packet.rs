//! Gearman's binary protocol, as far as a worker needs it; no input and no output.
//!
//! Invariants:
//! - of a packet's body no more than `max_body_bytes` is kept; the rest is counted and let go, so
//!   no length that a server announces takes more memory than that;
//! - whatever bytes come in, decoding ends with a packet, with a fault, or with the wish for more.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::source::SourceFault;

const REQUEST: &[u8; 4] = b"\0REQ";
const RESPONSE: &[u8; 4] = b"\0RES";
const HEAD_BYTES: usize = 12;

/// What a worker says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request<'a> {
    CanDo {
        function: &'a str,
    },
    SetClientId {
        name: &'a str,
    },
    /// Asks for a job with its unique id.
    GrabJob,
    /// Asks to be told when there is a job.
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

impl Request<'_> {
    /// Appends the packet.
    pub(super) fn encode(self, out: &mut BytesMut) {
        let (kind, arguments): (u32, [&[u8]; 2]) = match self {
            Request::CanDo { function } => (1, [function.as_bytes(), b""]),
            Request::PreSleep => (4, [b"", b""]),
            Request::WorkComplete { handle, result } => (13, [handle, result]),
            Request::Echo { data } => (16, [data, b""]),
            Request::SetClientId { name } => (22, [name.as_bytes(), b""]),
            Request::WorkException { handle, reason } => (25, [handle, reason]),
            Request::GrabJob => (30, [b"", b""]),
        };
        let has_two = matches!(
            self,
            Request::WorkComplete { .. } | Request::WorkException { .. }
        );
        let length = arguments[0].len() + arguments[1].len() + usize::from(has_two);
        out.put_slice(REQUEST);
        out.put_u32(kind);
        out.put_u32(u32::try_from(length).unwrap_or(u32::MAX)); // results and reasons are short
        out.put_slice(arguments[0]);
        if has_two {
            out.put_u8(0);
            out.put_slice(arguments[1]);
        }
    }
}

/// What a job server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Response {
    /// There may be a job.
    Noop,
    NoJob,
    Job(Job),
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
pub(super) struct Job {
    pub(super) handle: Bytes,
    pub(super) unique: Bytes,
    /// At most `max_body_bytes` of it.
    pub(super) workload: Bytes,
    /// How long it really is.
    pub(super) workload_bytes: u64,
}

/// From bytes to packets.
#[derive(Debug)]
pub(super) struct Packets {
    max_body_bytes: usize,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Head,
    Body {
        kind: u32,
        length: usize,
    },
    /// The part of a body that is not kept.
    Rest {
        response: Response,
        left: usize,
    },
}

impl Packets {
    pub(super) fn new(max_body_bytes: usize) -> Self {
        Packets {
            max_body_bytes,
            reading: Reading::Head,
        }
    }
}

impl Decoder for Packets {
    type Item = Response;
    type Error = SourceFault;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Response>, SourceFault> {
        loop {
            match &mut self.reading {
                Reading::Head => {
                    let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
                        return Ok(None);
                    };
                    self.reading = read_head(*head)?;
                    bytes.advance(HEAD_BYTES);
                }
                Reading::Body { kind, length } => {
                    let kept = (*length).min(self.max_body_bytes);
                    if bytes.len() < kept {
                        bytes.reserve(kept - bytes.len());
                        return Ok(None);
                    }
                    let response = read_body(*kind, *length, bytes.split_to(kept).freeze())?;
                    self.reading = Reading::Rest {
                        left: *length - kept,
                        response,
                    };
                }
                Reading::Rest { response, left } => {
                    let skipped = (*left).min(bytes.len());
                    bytes.advance(skipped);
                    *left -= skipped;
                    if *left > 0 {
                        return Ok(None);
                    }
                    let response = std::mem::replace(response, Response::Noop);
                    self.reading = Reading::Head;
                    return Ok(Some(response));
                }
            }
        }
    }
}

fn read_head(head: [u8; HEAD_BYTES]) -> Result<Reading, SourceFault> {
    let (magic, mut numbers) = head.split_at(4);
    if magic != RESPONSE {
        return Err(SourceFault::new(
            "what answers there is no Gearman job server, or one that speaks something else",
        ));
    }
    let (kind, length) = (numbers.get_u32(), numbers.get_u32() as usize);
    Ok(Reading::Body { kind, length })
}

fn read_body(kind: u32, length: usize, body: Bytes) -> Result<Response, SourceFault> {
    Ok(match kind {
        6 => Response::Noop,
        10 => Response::NoJob,
        17 => Response::Echo,
        19 => {
            let mut rest = body;
            let code = argument(&mut rest).unwrap_or_default();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Response::Error {
                code: text(&code),
                text: text(&rest),
            }
        }
        31 => Response::Job(read_job(length, &body)?),
        other => Response::Other(other),
    })
}

/// Handle, function and unique id, each with a zero behind it, then the workload.
fn read_job(length: usize, body: &Bytes) -> Result<Job, SourceFault> {
    let mut rest = body.clone();
    let arguments = (
        argument(&mut rest),
        argument(&mut rest),
        argument(&mut rest),
    );
    let (Some(handle), Some(_function), Some(unique)) = arguments else {
        return Err(SourceFault::new(
            "the job server assigned a job without a handle, a function or a unique id",
        ));
    };
    let before = body.len() - rest.len();
    Ok(Job {
        handle,
        unique,
        workload: rest,
        workload_bytes: (length - before) as u64,
    })
}

/// Takes what stands before the next zero.
fn argument(rest: &mut Bytes) -> Option<Bytes> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let argument = rest.split_to(end);
    rest.advance(1);
    Some(argument)
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

    fn job(workload: &[u8], workload_bytes: u64) -> Response {
        let part = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        Response::Job(Job {
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
    ) -> Result<Vec<Response>, SourceFault> {
        let (mut packets, mut buffer) = (Packets::new(max_body_bytes), BytesMut::new());
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
        let encoded = |request: Request<'_>| {
            let mut out = BytesMut::new();
            request.encode(&mut out);
            out.to_vec()
        };
        assert_eq!(
            encoded(Request::CanDo { function: "f" }),
            b"\0REQ\0\0\0\x01\0\0\0\x01f"
        );
        assert_eq!(encoded(Request::GrabJob), b"\0REQ\0\0\0\x1e\0\0\0\0");
        let complete = Request::WorkComplete {
            handle: b"H:a:1",
            result: b"42",
        };
        assert_eq!(encoded(complete), b"\0REQ\0\0\0\x0d\0\0\0\x08H:a:1\x0042");
        let exception = Request::WorkException {
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
            Response::NoJob,
            job(b"work\0load", 9),
            Response::Error {
                code: "CODE".to_owned(),
                text: "a text".to_owned(),
            },
            Response::Noop,
            Response::Other(99),
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
            let expected = [job(&[b'x'; 20], 100), Response::NoJob];
            assert_eq!(decode(&bytes, piece_bytes, 31).expect("packets"), expected);
        }
    }

    #[test]
    fn what_is_no_job_server_is_told() {
        assert!(decode(b"HTTP/1.1 400 Bad Request\r\n", 100, 100).is_err());
        assert!(decode(&response(31, b"H:a:1\0f"), 100, 100).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic_or_keep_more_than_it_may(
            kinds in prop::collection::vec((0u32..40, prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 0..8),
            noise in prop::collection::vec(any::<u8>(), 0..40),
            piece_bytes in 1usize..50,
            max_body_bytes in 0usize..50,
        ) {
            let mut bytes = Vec::new();
            for (kind, body, is_cut) in &kinds {
                let packet = response(*kind, body);
                bytes.extend_from_slice(&packet[..packet.len() - usize::from(*is_cut && !body.is_empty())]);
            }
            bytes.extend(noise);
            for response in decode(&bytes, piece_bytes, max_body_bytes).unwrap_or_default() {
                if let Response::Job(job) = response {
                    prop_assert!(job.workload.len() <= max_body_bytes);
                    prop_assert!(job.workload.len() as u64 <= job.workload_bytes);
                }
            }
        }
    }
}
