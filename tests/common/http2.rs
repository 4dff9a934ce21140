//! HTTP/2 stream by stream: windows, resets and unfinished requests are chosen by the attack.

use std::future::poll_fn;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use tokio::task::JoinHandle;

use super::secure;
use super::target::Target;

/// A connection whose frames are sent and answered (PINGs for one) as long as this lives.
pub struct Connection {
    requests: SendRequest<Bytes>,
    target: Target,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects; each stream may send so many bytes before it has to wait for a window update,
    /// which comes only for what is read and released.
    pub async fn open(target: impl Into<Target>, stream_window: u32) -> Result<Self, h2::Error> {
        let target = target.into();
        let socket = target
            .connect_for_http2()
            .await
            .map_err(|_| h2::Error::from(h2::Reason::CONNECT_ERROR))?;
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(stream_window)
            .handshake(socket)
            .await?;
        Ok(Connection {
            requests,
            target,
            driver: tokio::spawn(connection),
        })
    }

    /// Has the connection ended?
    pub fn has_ended(&self) -> bool {
        self.driver.is_finished()
    }

    /// `GET` of a path.
    pub async fn get(&mut self, path: &str) -> Result<ResponseFuture, h2::Error> {
        let request = self.request("GET", path).body(()).expect("a request");
        self.wait_for_turn().await?;
        Ok(self.requests.send_request(request, true)?.0)
    }

    /// A `GET` that is taken back at once.
    pub async fn get_and_reset(&mut self, path: &str) -> Result<(), h2::Error> {
        let request = self.request("GET", path).body(()).expect("a request");
        self.wait_for_turn().await?;
        let (_, mut stream) = self.requests.send_request(request, true)?;
        stream.send_reset(h2::Reason::CANCEL);
        Ok(())
    }

    /// Begins a gRPC call; its request message goes into the stream.
    pub async fn call(
        &mut self,
        method: &str,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let path = format!("/vidette.v1.EventBus/{method}");
        let request = self
            .request("POST", &path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        self.wait_for_turn().await?;
        self.requests.send_request(request, false)
    }

    /// Makes a gRPC call with a whole request message; the response, whose body is not read yet.
    pub async fn call_with(
        &mut self,
        method: &str,
        message: &[u8],
    ) -> Result<ResponseFuture, h2::Error> {
        let (response, mut stream) = self.call(method).await?;
        let frame = grpc_frame(message, message.len());
        let _ = send(&mut stream, frame, true).await; // refused early: the response says so
        Ok(response)
    }

    /// Waits until the peer allows one more stream.
    async fn wait_for_turn(&mut self) -> Result<(), h2::Error> {
        self.requests = self.requests.clone().ready().await?;
        Ok(())
    }

    /// A request that shows a token where the gateway asks for one.
    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        let uri = format!("{}://{}{path}", self.target.scheme(), self.target);
        let request = http::Request::builder().method(method).uri(uri);
        if self.target.is_secure {
            request.header("authorization", format!("Bearer {}", secure::token()))
        } else {
            request
        }
    }
}

/// A gRPC message in its frame, whose head says that it has `declared_bytes`.
pub fn grpc_frame(message: &[u8], declared_bytes: usize) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(declared_bytes).expect("less than 4 GiB"));
    frame.put_slice(message);
    frame.freeze()
}

/// Sends bytes as the peer's windows allow; an error when it resets the stream.
pub async fn send(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    is_last: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(capacity) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(()); // the stream is closed; its response says why
        };
        let next = bytes.split_to(capacity?.min(bytes.len()));
        let is_end = is_last && bytes.is_empty();
        stream.send_data(next, is_end)?;
    }
    Ok(())
}

/// Reads a gRPC response to its end: `grpc 8` for its status, or what there was instead.
pub async fn grpc_outcome(response: ResponseFuture) -> String {
    let response = match response.await {
        Ok(response) => response,
        Err(error) => return error_label(&error),
    };
    let status = |headers: &http::HeaderMap| {
        let value = headers.get("grpc-status")?;
        Some(format!("grpc {}", value.to_str().unwrap_or("?")))
    };
    if let Some(label) = status(response.headers()) {
        return label;
    }
    if response.status() != 200 {
        return response.status().as_u16().to_string();
    }
    let mut body = response.into_body();
    if let Err(error) = read_to_end(&mut body).await {
        return error_label(&error);
    }
    match body.trailers().await {
        Ok(Some(trailers)) => status(&trailers).unwrap_or_else(|| "no status".to_owned()),
        Ok(None) => "no status".to_owned(),
        Err(error) => error_label(&error),
    }
}

/// Reads and releases a body up to its trailers.
pub async fn read_to_end(body: &mut RecvStream) -> Result<(), h2::Error> {
    while let Some(chunk) = body.data().await {
        let bytes = chunk?.len();
        body.flow_control().release_capacity(bytes)?;
    }
    Ok(())
}

/// In a word for the table.
pub fn error_label(error: &h2::Error) -> String {
    if error.is_go_away() {
        format!(
            "goaway {:?}",
            error.reason().unwrap_or(h2::Reason::NO_ERROR)
        )
    } else if error.is_reset() {
        "stream reset".to_owned()
    } else {
        "connection ended".to_owned()
    }
}
