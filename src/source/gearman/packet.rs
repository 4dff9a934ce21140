//! The packets of Gearman's binary protocol, as far as a worker needs it.

use bytes::{BufMut as _, Bytes, BytesMut};

const REQUEST: &[u8; 4] = b"\0REQ";
pub(super) const RESPONSE: &[u8; 4] = b"\0RES";
pub(super) const HEAD_BYTES: usize = 12;

/// Numbers of packet types, as the protocol assigns them.
pub(super) mod packet_type {
    pub(in super::super) const CAN_DO: u32 = 1;
    pub(in super::super) const PRE_SLEEP: u32 = 4;
    pub(in super::super) const NOOP: u32 = 6;
    pub(in super::super) const NO_JOB: u32 = 10;
    pub(in super::super) const WORK_COMPLETE: u32 = 13;
    pub(in super::super) const ECHO_REQ: u32 = 16;
    pub(in super::super) const ECHO_RES: u32 = 17;
    pub(in super::super) const ERROR: u32 = 19;
    pub(in super::super) const SET_CLIENT_ID: u32 = 22;
    pub(in super::super) const WORK_EXCEPTION: u32 = 25;
    pub(in super::super) const GRAB_JOB_UNIQ: u32 = 30;
    pub(in super::super) const JOB_ASSIGN_UNIQ: u32 = 31;
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
