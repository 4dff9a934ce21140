//! Raw requests over both versions of HTTP, and a look at the gateway's memory.

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{self, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::gateway::{Gateway, PATIENCE, Setup};

pub const MIB: usize = 1024 * 1024;
/// The memory budget of these gateways: the least that may be configured.
pub const BUDGET: usize = 128 * MIB;

/// A gateway with that budget, whose log is not in its memory.
pub fn gateway(more_config: &str) -> Gateway {
    Gateway::start_with(Setup {
        config: format!("[limits]\nmemory_budget = {BUDGET}\n{more_config}"),
        ..Setup::default()
    })
}

/// The resident memory of the gateway in bytes.
pub fn resident_bytes(gateway: &Gateway) -> usize {
    status_kib(gateway, "VmRSS:") * 1024
}

/// The most that it has ever been.
pub fn peak_bytes(gateway: &Gateway) -> usize {
    status_kib(gateway, "VmHWM:") * 1024
}

fn status_kib(gateway: &Gateway, name: &str) -> usize {
    let path = format!("/proc/{}/status", gateway.pid());
    let text = std::fs::read_to_string(path).expect("a running gateway");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.expect("a line of that name");
    line.trim_end_matches("kB")
        .trim()
        .parse()
        .expect("a number")
}

/// What is used of the memory budget for this kind.
pub async fn used_bytes(gateway: &Gateway, kind: &str) -> f64 {
    let name = format!("vidette_memory_used_bytes{{kind=\"{kind}\"}}");
    gateway.metric(&name).await
}

/// Waits until nothing of the budget is used for this kind.
pub async fn until_all_is_given_back(gateway: &Gateway, kind: &str) {
    let is_free = || async { used_bytes(gateway, kind).await == 0.0 };
    gateway
        .until(&format!("all memory for {kind} is given back"), is_free)
        .await;
}

/// A connection of HTTP/2 whose streams take `window_bytes` at first. Nothing more is taken unless
/// the test says so.
pub async fn connect_h2(gateway: &Gateway, window_bytes: u32) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(gateway.address())
        .await
        .expect("a connection");
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(window_bytes)
        .initial_connection_window_size(u32::MAX >> 1);
    let (requests, connection) = builder.handshake(stream).await.expect("a connection");
    tokio::spawn(connection);
    requests
}

/// Begins a request; its body may follow.
pub async fn send(
    requests: &SendRequest<Bytes>,
    request: Request<()>,
    has_ended: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let mut requests = requests.clone().ready().await.expect("a place");
    requests
        .send_request(request, has_ended)
        .expect("a request")
}

/// `GET` of this path.
pub fn get(gateway: &Gateway, path: &str) -> Request<()> {
    let uri = format!("{}{path}", gateway.url());
    Request::get(uri).body(()).expect("a request")
}

/// A call of gRPC.
pub fn call(gateway: &Gateway, method: &str) -> Request<()> {
    let request = Request::post(format!("{}/{method}", gateway.url()))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    request.body(()).expect("a request")
}

/// A message in its frame.
pub fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("not so long"));
    framed.extend_from_slice(message);
    framed.freeze()
}

/// Makes a unary call with this message; gives its gRPC status.
pub async fn unary(gateway: &Gateway, method: &str, message: &[u8]) -> i32 {
    let requests = connect_h2(gateway, 1 << 20).await;
    let (response, mut body) = send(&requests, call(gateway, method), false).await;
    // The gateway may have answered, and closed the stream, before it has all.
    let _ = body.send_data(framed(message), true);
    let response = timeout(PATIENCE, response).await.expect("in time");
    grpc_status(response.expect("an answer")).await
}

/// The status of an answer, in its head or in its trailers.
pub async fn grpc_status(response: Response<RecvStream>) -> i32 {
    let status = |headers: &HeaderMap| {
        let status = headers.get("grpc-status")?;
        status.to_str().ok()?.parse().ok()
    };
    if let Some(status) = status(response.headers()) {
        return status;
    }
    let mut body = response.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece.expect("data");
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let trailers = body.trailers().await.expect("no error");
    status(&trailers.expect("trailers")).expect("a status")
}
