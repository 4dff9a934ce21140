//! Which hosts a gateway on a loopback address answers for: a page of another name that resolves to
//! this address may neither publish nor read (DNS rebinding).

use tonic::Code;
use tonic::transport::Endpoint;
use vidette::proto::event_bus_client::EventBusClient;
use vidette::proto::{GetBusRequest, NewEvent, PublishRequest, SubscribeRequest};

use crate::common::gateway::{Gateway, Setup};
use crate::h2_frames::{self, First};
use crate::raw::{self, DRIVERS};
use crate::support::{bounds, connect, gateway};

const EVENT: &str = r#"{"topic":"door.1","data":1}"#;

/// Requests of every kind, with this line for a host.
fn requests(host: &str) -> Vec<String> {
    let mut requests = vec![
        format!(
            "POST /v1/events HTTP/1.1\r\n{host}Content-Length: {}\r\n\r\n{EVENT}",
            EVENT.len()
        ),
        format!(
            "POST /v1/topics/a HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        ),
        format!("OPTIONS /v1/events HTTP/1.1\r\n{host}\r\n"),
        format!("HEAD /v1/poll HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
    ];
    for (_, header) in DRIVERS {
        for path in [
            "/v1/poll?wait=0",
            "/v1/sse?wait=0",
            "/backend.php",
            "/",
            "/healthz",
            "/metrics",
            "/nothing",
        ] {
            requests.push(format!("GET {path} HTTP/1.1\r\n{host}{header}\r\n"));
        }
    }
    requests
}

/// The statuses of gRPC calls that name this authority.
async fn calls(gateway: &Gateway, authority: &str) -> Vec<Code> {
    let origin = format!("http://{authority}").parse().expect("an address");
    let endpoint = Endpoint::from_shared(gateway.url()).expect("an address");
    let channel = endpoint.origin(origin).connect().await;
    let mut client = EventBusClient::new(channel.expect("a connection"));
    let event = NewEvent {
        topic: "door.1".into(),
        ..NewEvent::default()
    };
    let request = PublishRequest {
        events: vec![event],
    };
    let code = |status: Option<tonic::Status>| status.map_or(Code::Ok, |status| status.code());
    vec![
        code(client.publish(request).await.err()),
        code(client.get_bus(GetBusRequest {}).await.err()),
        code(client.subscribe(SubscribeRequest::default()).await.err()),
    ]
}

#[tokio::test]
async fn a_page_of_another_name_may_neither_read_nor_publish() {
    let gateway = gateway("memory", "[origins]\nallow = [\"https://allowed.test\"]");
    let port = gateway.address().port();
    for host in [
        "evil.test".to_owned(),
        format!("evil.test:{port}"),
        "allowed.test.evil.test".to_owned(),
        "localhost.evil.test".to_owned(),
        "evil.localhost".to_owned(),
        "127.0.0.1.evil.test".to_owned(),
        "10.0.0.1".to_owned(),
        "[::2]".to_owned(),
        String::new(),
    ] {
        for request in requests(&format!("Host: {host}\r\n")) {
            let answer = raw::ask(&gateway, &request).await.expect("an answer");
            assert_eq!(answer.status, 421, "{request}: {answer:?}");
            let is_told = answer.body.contains("origins.hosts");
            assert!(
                is_told || request.starts_with("HEAD"),
                "{request} {answer:?}"
            );
        }
    }
    // The page is of the same origin as its request, and says so.
    let rebound = format!(
        "POST /v1/events HTTP/1.1\r\nHost: evil.test\r\nOrigin: http://evil.test\r\n\
         Content-Length: {}\r\n\r\n{EVENT}",
        EVENT.len()
    );
    let answer = raw::ask(&gateway, rebound).await.expect("an answer");
    assert_eq!(answer.status, 421, "{answer:?}");
    let denied = vec![Code::PermissionDenied; 3];
    assert_eq!(calls(&gateway, "evil.test").await, denied);
    // An absolute target says whom it is for, whatever the host's header says (RFC 9112 §3.2.2).
    let absolute = "GET http://evil.test/v1/bus HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = raw::ask(&gateway, absolute).await.expect("an answer");
    assert_eq!(answer.status, 421, "{answer:?}");
    assert_eq!(bounds(&gateway).await, (1, 0), "nothing was published");
}

#[tokio::test]
async fn own_names_and_configured_ones_are_answered_whatever_the_port() {
    let hosts = "[origins]\nallow = [\"https://Allowed.test:8443\"]\nhosts = [\"push.example.org\", \"[fd00::1]\"]";
    let gateway = gateway("memory", hosts);
    for host in [
        &gateway.address().to_string(),
        "localhost",
        "LocalHost:99",
        "localhost.",
        "127.0.0.1",
        "127.8.9.10:80",
        "[::1]",
        "[0:0:0:0:0:0:0:1]:8080",
        "[::ffff:127.0.0.1]",
        "allowed.test",
        "push.example.org",
        "PUSH.Example.ORG:443",
        "[fd00:0::1]:8080",
    ] {
        for request in requests(&format!("Host: {host}\r\n")) {
            let answer = raw::ask(&gateway, &request).await.expect("an answer");
            let expected = match () {
                () if request.contains("/nothing") => 404,
                () if request.starts_with("OPTIONS") => 204,
                () => 200,
            };
            assert_eq!(answer.status, expected, "{request}: {answer:?}");
        }
        assert_eq!(calls(&gateway, host).await, [Code::Ok; 3], "{host}");
    }
}

#[tokio::test]
async fn an_asterisk_and_an_address_for_all_are_for_every_host() {
    let of_all = gateway("memory", "[origins]\nhosts = \"*\"");
    let public = Gateway::start_with(Setup {
        engine: "memory",
        flags: ["--insecure", "--listen", "0.0.0.0:0"]
            .map(str::to_owned)
            .into(),
        ..Setup::default()
    });
    // That gateway listens on loopback, too; the address for all was bound second.
    let is_announced = || async { public.log().contains("listening on http://0.0.0.0:") };
    public
        .until("all addresses are reported", is_announced)
        .await;
    let log = public.log();
    let all = log.split("listening on http://0.0.0.0:").nth(1);
    let port = all.and_then(|rest| rest.split_whitespace().next()?.parse::<u16>().ok());
    let request = "GET /v1/bus HTTP/1.1\r\nHost: evil.test\r\n\r\n";
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port.expect("a port"))).await;
    let mut over_all = raw::Raw::of(stream.expect("a connection"));
    over_all.send(request).await;
    assert_eq!(over_all.answer().await.map(|a| a.status), Some(200));
    for (gateway, expected) in [(&of_all, 200), (&public, 421)] {
        let answer = raw::ask(gateway, request).await.expect("an answer");
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    assert_eq!(calls(&of_all, "evil.test").await, [Code::Ok; 3]);
}

#[tokio::test]
async fn a_request_has_one_host_and_it_is_one() {
    let gateway = gateway("memory", "[origins]\nhosts = \"*\"");
    for lines in [
        "",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost, localhost\r\n",
        "Host: a b\r\n",
        "Host: user@localhost\r\n",
        "Host: localhost/x\r\n",
        "Host: localhost:80:80\r\n",
        "Host: localhost:http\r\n",
        "Host: [::1\r\n",
        "Host: \u{e9}\r\n",
    ] {
        for request in requests(lines) {
            let answer = raw::ask(&gateway, &request).await.expect("an answer");
            assert_eq!(answer.status, 400, "{request}: {answer:?}");
            let is_told = answer.body.contains("Host");
            assert!(
                is_told || request.starts_with("HEAD"),
                "{request}: {answer:?}"
            );
        }
    }
    // Older than the header (RFC 9112 §3.2).
    let old = raw::ask(&gateway, "GET /v1/poll?wait=0 HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.map(|answer| answer.status), Some(200));
    assert_eq!(bounds(&gateway).await, (1, 0), "nothing was published");
}

#[tokio::test]
async fn an_old_request_without_a_host_is_answered_on_loopback() {
    let gateway = gateway("memory", "");
    for (lines, expected) in [
        ("", 200),
        ("Host: localhost\r\n", 200),
        ("Host: evil.test\r\n", 421),
    ] {
        let request = format!("GET /v1/poll?wait=0 HTTP/1.0\r\n{lines}\r\n");
        let answer = raw::ask(&gateway, &request).await.expect("an answer");
        assert_eq!(answer.status, expected, "{request}");
    }
}

#[tokio::test]
async fn a_stream_of_http2_without_an_authority_is_answered_with_a_problem() {
    let gateway = gateway("memory", "");
    let mut stream = connect(&gateway).await;
    let answer = h2_frames::ask(&mut stream, &h2_frames::get("/v1/bus", "")).await;
    assert_eq!(answer, First::Headers);
    let client = reqwest::Client::builder().http2_prior_knowledge().build();
    let request = client
        .expect("a client")
        .get(format!("{}/v1/bus", gateway.url()))
        .header("host", "evil.test");
    assert_eq!(request.send().await.expect("an answer").status(), 400);
}
