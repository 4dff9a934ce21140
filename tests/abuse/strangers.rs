//! Whoever has no token, or a wrong one: each is refused, and cheaply.

use std::time::Duration;

use futures_util::future::join_all;
use jsonwebtoken::Algorithm;
use reqwest::header::{AUTHORIZATION, COOKIE};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};
use tonic::Request;
use tonic::transport::Channel;
use vidette::proto::SubscribeRequest;
use vidette::proto::event_bus_client::EventBusClient;

use crate::common::gateway::PATIENCE;
use crate::common::secure::{self, AUTHORITY, SECRET};
use crate::common::target::Target;
use crate::common::token::{Signer, in_seconds, rights};
use crate::ground::Ground;
use crate::h1;

/// Strangers who ask at once, over and over.
const STRANGERS: usize = 8;
/// A body that is declared, and of which nearly all is sent.
const BODY_BYTES: usize = 16 * 1024 * 1024;
/// How often a provider may be asked for its keys within the time of the short form.
const FETCHES: usize = 10;

/// Readers and publishers who show nothing.
pub async fn without_a_token(ground: &mut Ground) {
    ground.begin();
    let (url, until) = (ground.gateway.url(), Instant::now() + ground.seconds(3, 30));
    let asking = join_all((0..STRANGERS).map(|_| ask_for_all(&url, until)));
    let target = ground.target();
    let bodies = join_all((0..ground.count(16, 48)).map(|_| send_a_body(target)));
    let (asked, bodies) = tokio::join!(asking, bodies);
    for label in asked.concat().into_iter().chain(bodies) {
        ground.got(label);
    }
    ground.check_got_only(&["401", "grpc Unauthenticated", "body 401", "body reset"]);
}

async fn ask_for_all(url: &str, until: Instant) -> Vec<String> {
    let client = AUTHORITY.http_client().build().expect("a client");
    let mut grpc = stranger_of_grpc(url).await;
    let mut labels = Vec::new();
    while Instant::now() < until {
        for path in [
            "/v1/sse?topic=live",
            "/v1/poll?wait=20",
            "/v1/topics",
            "/metrics",
        ] {
            labels.push(status_of(client.get(format!("{url}{path}"))).await);
        }
        let event = json!({ "topic": "live", "data": 1 });
        labels.push(status_of(client.post(format!("{url}/v1/events")).json(&event)).await);
        labels.push(subscribe(&mut grpc, "").await);
    }
    labels
}

async fn status_of(request: reqwest::RequestBuilder) -> String {
    match timeout(PATIENCE, request.send()).await {
        Ok(Ok(answer)) => answer.status().as_u16().to_string(),
        Ok(Err(error)) => format!("broke: {error}"),
        Err(_) => "silence".to_owned(),
    }
}

async fn stranger_of_grpc(url: &str) -> EventBusClient<Channel> {
    let channel = secure::endpoint(url).connect().await;
    EventBusClient::new(channel.expect("a connection"))
}

async fn subscribe(grpc: &mut EventBusClient<Channel>, token: &str) -> String {
    let mut request = Request::new(SubscribeRequest::default());
    if !token.is_empty() {
        let value = format!("Bearer {token}").parse().expect("metadata");
        request.metadata_mut().insert("authorization", value);
    }
    match timeout(PATIENCE, grpc.subscribe(request)).await {
        Ok(Ok(_)) => "grpc served".to_owned(),
        Ok(Err(status)) => format!("grpc {:?}", status.code()),
        Err(_) => "grpc silence".to_owned(),
    }
}

/// A large body of somebody who may not publish: it is not waited for.
async fn send_a_body(target: Target) -> String {
    let Ok(mut stream) = target.connect().await else {
        return "no connection".to_owned();
    };
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = timeout(PATIENCE, stream.write_all(&vec![b' '; BODY_BYTES - 1])).await;
    let answer = h1::read_answer(&mut stream, PATIENCE).await;
    match answer {
        h1::Answer::Status(status, _) | h1::Answer::StatusThenReset(status, _) => {
            format!("body {status}")
        }
        answer => format!("body {}", answer.label()),
    }
}

/// Tokens that nobody has issued, on connections that are kept.
pub async fn wrong_tokens(ground: &mut Ground) {
    let tokens = wrong_token_kinds();
    ground.begin();
    let (url, until) = (ground.gateway.url(), Instant::now() + ground.seconds(3, 30));
    let showing = (0..STRANGERS).map(|_| show_all(&url, &tokens, until));
    for label in join_all(showing).await.concat() {
        ground.got(label);
    }
    ground.check_got_only(&["400", "401", "431", "grpc Unauthenticated"]);
    let fetches = ground.key_fetches();
    ground.check(
        fetches <= FETCHES || ground.seconds(0, 1) > Duration::ZERO,
        format!("the provider was asked for its keys {fetches} times"),
    );
    ground.got_many("key fetch", fetches);
}

fn wrong_token_kinds() -> Vec<String> {
    let all = rights(&[">"], &[">"]);
    let mut expired = all.clone();
    expired["exp"] = json!(in_seconds(-3600));
    let of_another = Signer::new(Algorithm::RS256);
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";
    let mut tokens = vec![
        "x".to_owned(),
        "a.b.c".to_owned(),
        unsigned.to_owned(),
        Signer::of_secret(SECRET).token(&all), // for another audience
        Signer::of_secret(SECRET).token(&expired),
        Signer::of_secret(&"y".repeat(32)).token(&all),
        of_another.token(&all),
        "z".repeat(9 * 1024),
        "z".repeat(60 * 1024),
    ];

    // Each of these names a key that nobody knows.
    let mut of_unknown_key = of_another;
    for _ in 0..32 {
        of_unknown_key = of_unknown_key.with_key_id(&fastrand::u64(..).to_string());
        tokens.push(of_unknown_key.token(&all));
    }
    tokens
}

async fn show_all(url: &str, tokens: &[String], until: Instant) -> Vec<String> {
    let client = AUTHORITY.http_client().build().expect("a client");
    let mut grpc = stranger_of_grpc(url).await;
    let mut labels = Vec::new();
    for token in tokens.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let request = client.get(format!("{url}/v1/poll?wait=20"));
        let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        labels.push(status_of(request).await);

        // A head that is too long ends a connection of HTTP/2, and the client with it.
        if token.len() < 4096 {
            labels.push(subscribe(&mut grpc, token).await);
        }
    }
    labels
}

/// Cookies without number, with wrong tokens among them.
pub async fn cookies(ground: &mut Ground) {
    ground.begin();
    let (url, until) = (ground.gateway.url(), Instant::now() + ground.seconds(3, 30));
    let cookies =
        |count, cookie: &dyn Fn(u32) -> String| (0..count).map(cookie).collect::<String>();
    let many = cookies(500, &|n| format!("c{n}=1; "));
    let several = cookies(200, &|n| format!("vidette=a.b.{n}; "));
    let cookies = [
        "vidette=a.b.c".to_owned(),
        format!("{many}vidette=a.b.c"),
        several,
        format!("vidette={}", "z".repeat(7000)),
        ";".repeat(7000),
        "vidette".repeat(1000),
    ];
    let sending = (0..STRANGERS).map(|_| send_cookies(&url, &cookies, until));
    for label in join_all(sending).await.concat() {
        ground.got(label);
    }
    ground.check_got_only(&["400", "401", "431"]);
}

async fn send_cookies(url: &str, cookies: &[String], until: Instant) -> Vec<String> {
    let client = AUTHORITY.http_client().build().expect("a client");
    let mut labels = Vec::new();
    for cookie in cookies.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let request = client.get(format!("{url}/v1/sse?topic=live"));
        let request = request.header(COOKIE, cookie).header("origin", url);
        labels.push(status_of(request).await);
    }
    labels
}
