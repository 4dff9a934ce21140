//! How requests were answered: by HTTP status, and by the code of a call of gRPC.
//!
//! Invariant: every status has its count from the start, so none is looked for.

use super::exposition::Shown;
use super::shards::Count;
use super::transport::{TRANSPORTS, Transport};

/// Statuses of HTTP begin with 100 and have three digits.
const FIRST_STATUS: u16 = 100;
const STATUSES: usize = 500;

/// The codes of gRPC, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The number of `CANCELLED`: whoever has called does not wait for the answer any more.
pub(crate) const CANCELLED: usize = 1;

/// The answers to requests.
#[derive(Debug)]
pub struct Requests {
    by_status: Box<[[Count; STATUSES]; TRANSPORTS.len()]>,
    by_code: [Count; CODES.len()],
}

impl Default for Requests {
    fn default() -> Self {
        let none = || std::array::from_fn(|_| Count::default());
        Requests {
            by_status: Box::new(std::array::from_fn(|_| none())),
            by_code: Default::default(),
        }
    }
}

impl Requests {
    /// Counts an answer with this status of HTTP.
    pub(crate) fn count_status(&self, transport: Transport, status: u16) {
        let number = usize::from(status.saturating_sub(FIRST_STATUS));
        self.by_status[transport as usize][number.min(STATUSES - 1)].add(1);
    }

    /// Counts a call of gRPC that has ended with the code of this number.
    pub(crate) fn count_code(&self, number: usize) {
        // What nobody has defined is unknown.
        self.by_code.get(number).unwrap_or(&self.by_code[2]).add(1);
    }

    pub(super) fn shown(&self) -> Shown {
        let statuses = TRANSPORTS.iter().flat_map(|&via| self.statuses(via));
        let codes = CODES.iter().zip(&self.by_code);
        let codes = codes.map(|(name, count)| (*name == "OK", (*name).to_owned(), count.get()));
        let codes = codes.map(|(is_usual, name, count)| (Transport::Grpc, is_usual, name, count));
        // Those that are seen, and the usual ones: a rate begins with 0.
        let shown = statuses
            .chain(codes)
            .filter(|(_, is_usual, _, count)| *is_usual || *count > 0);
        let shown = shown.map(|(via, _, status, count)| {
            let transport = via.as_str().to_owned();
            ([("transport", transport), ("status", status)], count)
        });
        let help = "Requests answered, by HTTP status; calls of gRPC by their code";
        Shown::counters("requests", help, shown)
    }

    fn statuses(
        &self,
        via: Transport,
    ) -> impl Iterator<Item = (Transport, bool, String, u64)> + use<'_> {
        let counts = (FIRST_STATUS..).zip(&self.by_status[via as usize]);
        counts.map(move |(status, count)| {
            let is_usual = status == 200 && via != Transport::Grpc;
            (via, is_usual, status.to_string(), count.get())
        })
    }
}
