//! The way to a gateway: do event streams arrive as they come, and does an event pass by each
//! transport?

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::finding::Finding;
use crate::cli::connect::ConnectArgs;
use crate::cli::{DEFAULT_URL, Failure};
use crate::client::{
    Client, ClientError, ClientErrorKind, EventParts, NewEvent, ReadItem, ReadOptions, Reader,
    Transport,
};
use crate::limits;

/// The topic on a gateway of this machine.
const OWN_TOPIC: &str = "doctor.check";
/// A gateway says at once who it is. Whoever has heard nothing by then hears what a proxy holds.
const HELLO_PATIENCE: Duration = Duration::from_secs(3);
const EVENT_PATIENCE: Duration = Duration::from_secs(4);
/// Later than that after it was published an event was held up on its way.
const LATE: Duration = Duration::from_millis(150);

const UNBUFFERED: &str = "switch the buffering of answers off in what stands between (nginx: \
    proxy_buffering off); deploy/proxies has a file for each proxy";

/// A reader that a gateway has greeted.
type Greeted = (Transport, Reader);

pub(super) async fn look(
    gateway: &ConnectArgs,
    topic: Option<String>,
    without_grpc: bool,
) -> Result<Vec<Finding>, Failure> {
    let client = gateway.client()?.retry_for(Duration::ZERO);
    let topic = topic.or_else(|| is_loopback(gateway.url()).then(|| OWN_TOPIC.to_owned()));
    let filter = topic.as_deref().unwrap_or(OWN_TOPIC);
    let (mut findings, mut greeted) = (Vec::new(), Vec::new());
    for via in [Transport::Sse, Transport::Grpc] {
        if via == Transport::Grpc && without_grpc {
            continue;
        }
        match greet(&client, filter, via).await {
            Ok((reader, took)) => {
                let text = format!("{} is greeted after {took:.1?}", name(via));
                findings.push(Finding::good("gateway", text));
                greeted.push((via, reader));
            }
            Err(None) if gateway.url() == DEFAULT_URL && via == Transport::Sse => {
                let text = format!("none at {DEFAULT_URL}, so nothing was asked of it");
                return Ok(vec![Finding::good("gateway", text)]);
            }
            Err(error) => findings.push(not_greeted(via, error)),
        }
    }
    match topic {
        Some(topic) => findings.extend(pass_event(&client, &topic, greeted).await),
        None => findings.push(Finding::good(
            "gateway",
            "nothing was published; with --publish TOPIC an event is, and read by each transport",
        )),
    }
    Ok(findings)
}

fn is_loopback(url: &str) -> bool {
    let host = reqwest::Url::parse(url).ok();
    let host = host
        .as_ref()
        .and_then(|url| url.host_str())
        .unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn name(via: Transport) -> &'static str {
    match via {
        Transport::Auto | Transport::Sse => "a reader of SSE",
        Transport::LongPoll => "a poll",
        Transport::Grpc => "a reader of gRPC",
    }
}

/// A reader that has been greeted, and how long that took. No error: there is no gateway.
async fn greet(
    client: &Client,
    topic: &str,
    via: Transport,
) -> Result<(Reader, Duration), Option<String>> {
    let begun = Instant::now();
    let mut reader = client.read(ReadOptions::new().topic(topic).via(via));
    let greeting = async {
        loop {
            match reader.next().await {
                Some(Ok(ReadItem::Connected(_))) => return Ok(begun.elapsed()),
                Some(Ok(ReadItem::Interrupted(why))) => return Err(why.error),
                Some(Err(error)) => return Err(error),
                _ => {}
            }
        }
    };
    match timeout(HELLO_PATIENCE, greeting).await {
        Ok(Ok(took)) => Ok((reader, took)),
        Ok(Err(error)) if is_absent(&error) => Err(None),
        Ok(Err(error)) => Err(Some(error.to_string())),
        Err(_) => Err(Some(format!("nothing came within {HELLO_PATIENCE:?}"))),
    }
}

fn is_absent(error: &ClientError) -> bool {
    error.kind() == ClientErrorKind::Unreachable && error.to_string().contains("no gateway at")
}

fn not_greeted(via: Transport, error: Option<String>) -> Finding {
    let Some(error) = error else {
        let advice = "start it with `vidette serve`, or correct --url";
        return Finding::problem("gateway", "nobody answers", advice);
    };
    let advice = match via {
        _ if !error.contains("nothing came") && via != Transport::Grpc => {
            "see what it says; --token-file shows a token"
        }
        Transport::Grpc => {
            "gRPC needs HTTP/2 on the whole way (deploy/proxies); --without-grpc leaves it out"
        }
        _ => UNBUFFERED,
    };
    Finding::problem("gateway", format!("{}: {error}", name(via)), advice)
}

/// One event, by each transport.
async fn pass_event(client: &Client, topic: &str, greeted: Vec<Greeted>) -> Vec<Finding> {
    let id = format!("doctor-{:016x}", fastrand::u64(..));
    let parts = EventParts {
        topic,
        id: Some(&id),
        data: Bytes::from_static(br#"{"from":"vidette doctor"}"#),
        ..EventParts::default()
    };
    let event = NewEvent::check(parts, limits::MAX_EVENT_BYTES_CEILING);
    let event = match event {
        Ok(event) => event,
        Err(error) => return vec![not_published(topic, &error)],
    };
    let receipt = match client.publish(event).await {
        Ok(receipt) => receipt,
        Err(error) => return vec![not_published(topic, &error)],
    };
    let published = Instant::now();
    let text = format!("one event was published to {topic}, as {}", receipt.cursor);
    let mut findings = vec![Finding::good("gateway", text)];

    // A poll begins before it, and so ends at once.
    let before = receipt.vid.saturating_sub(1);
    let poll = ReadOptions::new().topic(topic).after(&before);
    let poll = client.read(poll.via(Transport::LongPoll));
    for (via, mut reader) in greeted.into_iter().chain([(Transport::LongPoll, poll)]) {
        let arriving = arrival(&mut reader, receipt.vid);
        let took = timeout(EVENT_PATIENCE, arriving).await;
        findings.push(arrived(via, took.ok().map(|()| published.elapsed())));
    }
    findings
}

async fn arrival(reader: &mut Reader, vid: u64) {
    while let Some(item) = reader.next().await {
        if matches!(item, Ok(ReadItem::Event(event)) if event.vid == vid) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

fn arrived(via: Transport, took: Option<Duration>) -> Finding {
    let name = name(via);
    match took {
        Some(took) if took <= LATE => {
            Finding::good("gateway", format!("{name} had the event after {took:.1?}"))
        }
        Some(took) => Finding::warning(
            "gateway",
            format!("{name} had the event only after {took:.1?}"),
            "the machine is busy, or a proxy waits for more (HAProxy: option http-no-delay)",
        ),
        None => Finding::problem(
            "gateway",
            format!("{name} did not get the event within {EVENT_PATIENCE:?}"),
            UNBUFFERED,
        ),
    }
}

fn not_published(topic: &str, error: &impl std::fmt::Display) -> Finding {
    Finding::problem(
        "gateway",
        format!("no event could be published to {topic}: {error}"),
        "name a topic that you may publish with --publish, and show a token with --token-file",
    )
}
