//! Subscriptions of one connection: streams of HTTP/2, gRPC or not.

use futures_util::StreamExt as _;
use reqwest::Response;

use crate::clients::{addresses, exhausted_line, gateway, grpcio};
use crate::common::gateway::Gateway;

fn limited() -> Gateway {
    gateway("limits", "subscriptions_per_connection = 2")
}

#[tokio::test]
async fn a_grpc_connection_has_as_many_streams_as_it_may_and_another_one_too() {
    let gateway = limited();
    let calls = [0; 2].map(|_| grpcio(&gateway, &addresses().one, &["subscribe-often", "3"]));
    let mut connections = calls.map(|call| call.start());
    for connection in &mut connections {
        for _ in 0..2 {
            assert_eq!(connection.line().await.as_deref(), Some("open"));
        }
        let refused = exhausted_line(&connection.line().await.expect("a line"));
        assert!(refused.is_passing, "{refused:?}");
        assert!(
            refused
                .detail
                .contains("limits.subscriptions_per_connection"),
            "{refused:?}"
        );
    }
    let refusals = r#"vidette_refused_total{reason="connection_subscriptions"}"#;
    assert!(gateway.metric(refusals).await >= 2.0);
}

/// A client that has one connection for all its requests.
fn on_one_connection() -> reqwest::Client {
    let client = reqwest::Client::builder().http2_prior_knowledge();
    client.build().expect("a client")
}

async fn get(client: &reqwest::Client, gateway: &Gateway, path: &str) -> Response {
    let request = client.get(format!("{}{path}", gateway.url()));
    request.send().await.expect("an answer")
}

/// The first piece of an event stream, and the rest of it.
async fn first_piece(response: Response) -> (String, impl Sized) {
    let mut pieces = response.bytes_stream();
    let piece = pieces.next().await.expect("a piece").expect("bytes");
    (String::from_utf8(piece.to_vec()).expect("text"), pieces)
}

#[tokio::test]
async fn streams_of_http_2_count_together_whatever_they_read_by() {
    let (gateway, client) = (limited(), on_one_connection());
    let (hello, first) = first_piece(get(&client, &gateway, "/v1/sse").await).await;
    let (_, second) = first_piece(get(&client, &gateway, "/v1/sse").await).await;
    assert!(hello.contains("vidette.hello"), "{hello}");

    let poll = get(&client, &gateway, "/v1/poll?wait=0").await;
    assert_eq!(poll.status(), 429);
    let page = get(&client, &gateway, "/backend.php?maxvid=0").await;
    assert_eq!(page.status(), 429);
    let (closing, _) = first_piece(get(&client, &gateway, "/v1/sse").await).await;
    assert!(closing.contains(r#""reason":"busy""#), "{closing}");
    let elsewhere = get(&on_one_connection(), &gateway, "/v1/poll?wait=0").await;
    assert_eq!(elsewhere.status(), 200);

    drop(first);
    let is_free = async || {
        get(&client, &gateway, "/v1/poll?wait=0")
            .await
            .status()
            .is_success()
    };
    gateway.until("its place is free again", is_free).await;
    drop(second);
}

#[tokio::test]
async fn without_the_setting_a_connection_has_as_many_as_http_2_has_streams() {
    let gateway = Gateway::in_memory();
    let client = on_one_connection();
    let mut open = Vec::new();
    for _ in 0..200 {
        let (hello, stream) = first_piece(get(&client, &gateway, "/v1/sse").await).await;
        assert!(hello.contains("vidette.hello"), "{hello}");
        open.push(stream);
    }
}
