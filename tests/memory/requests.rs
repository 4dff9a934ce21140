//! Requests that stand for more than they are, and requests that do not end.

use bytes::Bytes;
use h2::SendStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::common::gateway::{Gateway, PATIENCE};
use crate::raw::{
    BUDGET, MIB, call, connect_h2, gateway, grpc_status, peak_bytes, resident_bytes, send, unary,
    until_all_is_given_back, used_bytes,
};

const RESOURCE_EXHAUSTED: i32 = 8;
const BODY_BYTES: usize = 16 * MIB;
/// What a gateway takes when it holds nothing, and then some.
const REST_BYTES: usize = 64 * MIB;

#[tokio::test]
async fn a_grpc_request_of_millions_of_elements_is_refused_before_it_is_decoded() {
    let gateway = gateway("");
    // A tag and a length of 0: an empty event, or an empty topic.
    let many_elements = [0x0a, 0x00].repeat(BODY_BYTES / 2 - 8);
    for method in ["Publish", "PublishStream", "Subscribe", "ListTopics"] {
        let method = format!("vidette.v1.EventBus/{method}");
        let status = unary(&gateway, &method, &many_elements).await;
        assert_eq!(status, RESOURCE_EXHAUSTED, "{method}");
    }
    let peak = peak_bytes(&gateway);
    assert!(peak < REST_BYTES + 3 * BODY_BYTES, "{} MiB", peak / MIB);
    until_all_is_given_back(&gateway, "decoded").await;
}

#[tokio::test]
async fn an_event_of_a_million_headers_is_refused_before_it_is_decoded() {
    let gateway = gateway("");
    let mut event = Vec::new();
    for number in 0..1_000_000_u32 {
        // headers { key: "\x01\x02\x03" }
        let [_, key @ ..] = (0x0101_0101 + number).to_be_bytes().map(|byte| byte | 1);
        event.extend_from_slice(&[0x42, 5, 0x0a, 3]);
        event.extend_from_slice(&key);
    }
    let length = u32::try_from(event.len()).expect("not so long");
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(length.into(), &mut message);
    message.extend_from_slice(&event);
    let status = unary(&gateway, "vidette.v1.EventBus/Publish", &message).await;
    assert_eq!(status, 3, "a bad request");
    let peak = peak_bytes(&gateway);
    assert!(peak < REST_BYTES + 3 * BODY_BYTES, "{} MiB", peak / MIB);
}

#[tokio::test]
async fn json_of_millions_of_elements_is_refused_before_it_is_read() {
    let gateway = gateway("");
    let list = |element: &str| {
        let count = BODY_BYTES / (element.len() + 1) - 8;
        format!("[{}{element}]", format!("{element},").repeat(count))
    };
    let names = (0..1_200_000).map(|n| format!("\"{n:x}\":\"\""));
    let headers = names.collect::<Vec<_>>().join(",");
    let headers = format!(r#"{{"topic":"a","data":1,"headers":{{{headers}}}}}"#);
    let event = r#"{"topic":"a","data":1}"#;
    for (body, status) in [(list("0"), 400), (list(event), 413), (headers, 400)] {
        assert!(body.len() < BODY_BYTES, "{}", body.len());
        let request = reqwest::Client::new().post(format!("{}/v1/events", gateway.url()));
        let answer = request.body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
    }
    let peak = peak_bytes(&gateway);
    assert!(peak < REST_BYTES + 4 * BODY_BYTES, "{} MiB", peak / MIB);
    until_all_is_given_back(&gateway, "decoded").await;
}

/// Sends all of a large body but its last byte; gives what answer comes before that, or the
/// connection.
async fn unfinished_http1(gateway: &Gateway) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(gateway.address()).await;
    let mut stream = stream.expect("a connection");
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("a head");
    let body = vec![b' '; BODY_BYTES - 1];
    let (mut from, mut to) = stream.split();
    let mut answer = vec![0; 4096];
    let answered = tokio::select! {
        biased;
        read = from.read(&mut answer) => Some(read.unwrap_or(0)),
        written = to.write_all(&body) => { written.expect("taken"); None }
    };
    match answered {
        Some(count) => Err(String::from_utf8_lossy(&answer[..count]).into_owned()),
        None => Ok(stream),
    }
}

/// The same as a call of gRPC; gives its status, or the stream and what waits for its end.
async fn unfinished_grpc(
    gateway: &Gateway,
    method: &str,
) -> Result<(SendStream<Bytes>, JoinHandle<i32>), i32> {
    let requests = connect_h2(gateway, 1 << 20).await;
    let method = format!("vidette.v1.EventBus/{method}");
    let (response, mut body) = send(&requests, call(gateway, &method), false).await;
    let mut status = tokio::spawn(async { grpc_status(response.await.expect("an answer")).await });
    let mut message = vec![0; BODY_BYTES];
    let length = u32::try_from(BODY_BYTES - 5).expect("not so long");
    message[1..5].copy_from_slice(&length.to_be_bytes());
    let mut rest = Bytes::from(message).slice(..BODY_BYTES - 1);
    while !rest.is_empty() {
        body.reserve_capacity(rest.len());
        let capacity = std::future::poll_fn(|context| body.poll_capacity(context));
        let granted = tokio::select! {
            biased;
            status = &mut status => return Err(status.expect("no panic")),
            granted = capacity => granted,
        };
        let Some(Ok(granted)) = granted else {
            let status = timeout(PATIENCE, status).await.expect("in time");
            return Err(status.expect("no panic"));
        };
        let piece = rest.split_to(granted.min(rest.len()));
        body.send_data(piece, false).expect("sent");
    }
    Ok((body, status))
}

#[tokio::test]
async fn bodies_that_never_end_are_paid_and_refused_when_there_is_no_memory_for_them() {
    let gateway = gateway("");
    let (mut held, mut held_by_grpc, mut refused) = (Vec::new(), Vec::new(), 0);
    for number in 0..16 {
        match unfinished_http1(&gateway).await {
            Ok(stream) => held.push(stream),
            Err(answer) => {
                assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
                assert!(answer.contains("retry-after: "), "{answer}");
                assert!(answer.contains("out-of-memory"), "{answer}");
                refused += 1;
            }
        }
        let method = ["Publish", "PublishStream"][number % 2];
        match unfinished_grpc(&gateway, method).await {
            Ok(call) => held_by_grpc.push(call),
            Err(status) => {
                assert_eq!(status, RESOURCE_EXHAUSTED, "{method}");
                refused += 1;
            }
        }
    }
    let count = held.len() + held_by_grpc.len();
    assert!(count > 0 && refused > 0, "{count} held, {refused} refused");
    // Some that were written whole may have been refused behind that.
    let counted = gateway
        .metric("vidette_refused_total{reason=\"memory\"}")
        .await;
    let seen = f64::from(refused)..=f64::from(2 * 16);
    assert!(
        seen.contains(&counted),
        "{counted} are counted of {refused}"
    );
    let peak = peak_bytes(&gateway);
    assert!(peak < REST_BYTES + 2 * BUDGET, "{} MiB", peak / MIB);
    // Who sends what is whole is served.
    gateway.publish_numbers("live", 3).await;

    let paid = used_bytes(&gateway, "body").await;
    assert!(paid > 0.0, "nothing is paid");
    for (_, status) in &held_by_grpc {
        status.abort();
    }
    drop((held, held_by_grpc));
    until_all_is_given_back(&gateway, "body").await;
    let is_small = || async { resident_bytes(&gateway) < REST_BYTES + BODY_BYTES };
    gateway
        .until("memory goes back to the system", is_small)
        .await;
}
