//! Publishing: one batch, or a stream of lines over as many requests as it takes.

mod batch;
mod errors;
#[cfg(feature = "client-grpc")]
mod grpc;
#[cfg(feature = "client-grpc")]
mod grpc_lines;
mod ids;
mod line;
mod outage;
mod pace;
mod report;
mod request;
mod stream;
mod window;

use serde::Deserialize;

use crate::cursor::Vid;

pub(super) use batch::publish_batch;
pub use line::PublishLine;
pub use report::PublishReport;
pub use stream::Publisher;

/// How events go to the gateway.
#[derive(Debug, Clone)]
pub(super) enum PublishWire {
    Http,
    #[cfg(feature = "client-grpc")]
    Grpc(tonic::transport::Channel),
}

/// Where a published event stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct PublishReceipt {
    /// Its vid; that of the first one when it is a duplicate.
    pub vid: Vid,
    /// The position just behind it, as `VID-EPOCH`.
    pub cursor: String,
    /// An event with this id had been published within the dedupe window.
    #[serde(default)]
    pub duplicate: bool,
}
