//! Streams that are read to their end, one by one.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::gateway::{Gateway, PATIENCE, Setup};
use crate::common::grpc::GrpcReader;
use crate::common::read::{Refused, Step, SubscribeParams};

/// A gateway in memory that ends its streams over this time.
pub(crate) fn gateway_over(over: &str) -> Gateway {
    gateway(&format!("over = \"{over}\""))
}

/// A gateway in memory with these settings of `[drain]`.
pub(crate) fn gateway(drain: &str) -> Gateway {
    Gateway::start_with(Setup {
        engine: "memory",
        config: format!("[drain]\n{drain}\n"),
        ..Setup::default()
    })
}

/// Waits until so many subscriptions are open.
pub(crate) async fn until_subscribed(gateway: &Gateway, count: usize) {
    let is_open = || async { gateway.get("/v1/bus").await["subscribers"] == count };
    gateway.until("all are subscribed", is_open).await;
}

/// How a stream was, from its first byte to its end.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) vids: Vec<u64>,
    /// The last cursor that was given.
    pub(crate) cursor: String,
    pub(crate) is_told: bool,
    pub(crate) retry_ms: Option<u64>,
}

impl Ended {
    pub(crate) fn last_vid(&self) -> u64 {
        self.vids.last().copied().unwrap_or(0)
    }
}

/// An event stream on a bare connection.
pub(crate) struct RawSse {
    stream: TcpStream,
    read: String,
}

impl RawSse {
    /// Opens it; `header` may have hyper drive it.
    pub(crate) async fn open(address: SocketAddr, query: &str, header: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let mut sse = RawSse {
            stream,
            read: String::new(),
        };
        let request = format!("GET /v1/sse{query} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
        let sent = sse.stream.write_all(request.as_bytes()).await;
        sent.expect("it is taken");
        sse
    }

    /// False at the end.
    async fn read_some(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let reading = timeout(PATIENCE, self.stream.read(&mut bytes)).await;
        let count = reading.expect("in time").expect("no reset");
        let text = std::str::from_utf8(&bytes[..count]).expect("ASCII");
        self.read.push_str(text);
        count > 0
    }

    /// Reads to its end.
    pub(crate) async fn ended(mut self) -> Ended {
        while self.read_some().await {}
        let mut ended = Ended::default();
        for line in self.read.lines() {
            if let Some(cursor) = line.strip_prefix("id: ") {
                cursor.clone_into(&mut ended.cursor);
            } else if let Some(event) = line.strip_prefix("data: {\"vid\":") {
                let digits = event.split(',').next().unwrap_or_default();
                ended.vids.push(digits.parse().expect("a vid"));
            } else if let Some(retry) = line.strip_prefix("retry: ") {
                ended.retry_ms = retry.trim().parse().ok();
            }
            ended.is_told |= line == "event: vidette.closing";
        }
        ended
    }
}

/// A stream of gRPC, read to its end.
pub(crate) async fn ended_grpc(url: String, params: SubscribeParams) -> Ended {
    let opened = GrpcReader::open(&url, &params).await;
    let mut reader = opened.expect("a subscription");
    let mut ended = Ended::default();
    loop {
        let next = timeout(PATIENCE, reader.next()).await.expect("in time");
        match next {
            Ok(Some(Step::Event(seen, cursor))) => {
                ended.vids.push(seen.vid);
                ended.cursor = cursor;
            }
            Ok(Some(Step::CaughtUp(cursor) | Step::Progress(cursor))) => ended.cursor = cursor,
            Ok(Some(Step::Closing)) => ended.is_told = true,
            Ok(Some(_)) => {}
            Err(Refused::Unavailable(_)) => return ended,
            other => panic!("{other:?} after {ended:?}"),
        }
    }
}
