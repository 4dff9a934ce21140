//! Peers that send no more, and peers that leave, are served as without encryption.

use tokio::io::AsyncWriteExt as _;

use crate::support::{Connection, TlsGateway, get};

/// For the lean driver, and for hyper.
const DRIVERS: [&str; 2] = ["", "Content-Length: 0\r\n"];

/// Asks and says that no more comes.
async fn ask_and_end(gateway: &TlsGateway, request: String) -> Connection {
    let mut connection = gateway.connect().await;
    connection.send(request).await;
    connection.stream.shutdown().await.expect("its end is sent");
    connection
}

#[tokio::test]
async fn a_reader_that_sends_no_more_gets_what_is_there_and_an_end() {
    let gateway = TlsGateway::start();
    gateway.publish("door.1", 3).await;
    for header in DRIVERS {
        for target in [
            "/v1/poll?after=0&wait=20",
            "/v1/sse?after=0",
            "/backend.php?maxvid=2",
        ] {
            let mut connection = ask_and_end(&gateway, get(target, header)).await;
            let answer = connection.read_to_end().await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{target} {answer}");
            assert!(answer.contains("\"vid\":3"), "{target} {answer}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_waits_and_sends_no_more_is_answered_at_once() {
    let gateway = TlsGateway::start();
    for header in DRIVERS {
        let mut connection = gateway.connect().await;
        connection.send(get("/v1/poll?wait=100", header)).await;
        gateway.until_subscribers_are(1).await;
        connection.stream.shutdown().await.expect("its end is sent");
        let answer = connection.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// Many clients close their socket without the word of TLS for it.
#[tokio::test]
async fn an_end_without_its_word_is_an_end() {
    let gateway = TlsGateway::start();
    for header in DRIVERS {
        let mut connection = gateway.connect().await;
        connection.send(get("/v1/poll?wait=100", header)).await;
        gateway.until_subscribers_are(1).await;
        let socket = connection.stream.get_mut().0;
        socket.shutdown().await.expect("its end is sent");
        let answer = connection.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn whoever_leaves_is_noticed() {
    let gateway = TlsGateway::start();
    for header in DRIVERS {
        for target in ["/v1/poll?wait=100", "/v1/sse", "/backend.php?maxvid=0"] {
            let mut connection = gateway.connect().await;
            connection.send(get(target, header)).await;
            gateway.until_subscribers_are(1).await;
            drop(connection);
            gateway.until_subscribers_are(0).await;
        }
    }
}

/// Requests that come in one record are decrypted together, and those that are not read at once
/// are found without the socket, at which nothing more is to be seen.
#[tokio::test]
async fn requests_that_come_together_are_answered_one_after_the_other() {
    let gateway = TlsGateway::start();
    gateway.publish("door.1", 1).await;
    for header in DRIVERS {
        let mut connection = gateway.connect().await;
        // Of a length of which whole ones are read at once, and not all of them.
        let poll = |padding: &str| {
            let headers = format!("{header}X-Padding: {padding}\r\n");
            get("/v1/poll?after=0&wait=0&topic=door.1", &headers)
        };
        let padding = "x".repeat(512 - poll("").len());
        assert_eq!(poll(&padding).len(), 512);
        connection.send(get("/v1/poll?wait=0", "")).await;
        connection.read_to("\r\n\r\n").await;
        connection.read.clear();
        connection.send(poll(&padding).repeat(20)).await;
        let mut answers = 0;
        while answers < 20 {
            let read = connection.read_to("\"up_to_date\":true").await;
            answers += read.matches("\"up_to_date\":true").count();
            connection.read.clear();
        }
    }
}
