//! By what clients speak with the gateway: the label `transport`.

/// How a request came, and how its answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// `/v1/poll`.
    LongPoll,
    /// `/v1/sse`.
    Sse,
    /// Any call of gRPC or gRPC-web.
    Grpc,
    /// The page of the long-poll age.
    Legacy,
    /// Every other request over HTTP, as those that publish.
    #[default]
    Http,
}

/// Those by which events are read.
pub(crate) const READING: [Transport; 4] = [
    Transport::LongPoll,
    Transport::Sse,
    Transport::Grpc,
    Transport::Legacy,
];

/// All of them.
pub(super) const TRANSPORTS: [Transport; 5] = [
    Transport::LongPoll,
    Transport::Sse,
    Transport::Grpc,
    Transport::Legacy,
    Transport::Http,
];

impl Transport {
    /// The one of this number.
    pub(crate) fn of_number(number: u8) -> Self {
        let found = TRANSPORTS.get(usize::from(number));
        found.copied().unwrap_or_default()
    }

    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::LongPoll => "long_poll",
            Transport::Sse => "sse",
            Transport::Grpc => "grpc",
            Transport::Legacy => "legacy",
            Transport::Http => "http",
        }
    }
}
