//! Each transport over a Unix socket, by the clients that people use.

use crate::python;
use crate::served::Served;
use crate::tools::{find, run};

const CONFIG: &str = "listen = \"unix:v.sock\"";
const EVENT: &str = r#"{"topic":"door.1","data":{"n":1}}"#;

async fn curl(gateway: &Served, args: &[&str]) -> String {
    let socket = gateway.path("v.sock").display().to_string();
    let args = [&["-sS", "--max-time", "20", "--unix-socket", &socket], args].concat();
    run(find("curl", "bin"), &args).await.ok()
}

#[tokio::test]
async fn curl_publishes_and_reads_over_a_unix_socket() {
    let gateway = Served::start(CONFIG, &[]).await;
    let said = curl(&gateway, &["-d", EVENT, "http://localhost/v1/events"]).await;
    assert!(said.contains("\"vid\":1"), "{said}");
    let from_start = "after=earliest&limit=1";
    for path in ["poll", "sse"] {
        let url = format!("http://localhost/v1/{path}?{from_start}");
        for h2 in [&[][..], &["--http2-prior-knowledge"]] {
            let said = curl(&gateway, &[h2, &[url.as_str()]].concat()).await;
            assert!(said.contains("{\"n\":1}"), "{path} {h2:?}: {said}");
        }
    }
    let said = curl(&gateway, &["http://localhost/backend.php?maxvid=0"]).await;
    assert!(said.contains('1'), "{said}");
}

#[tokio::test]
async fn grpcurl_calls_over_a_unix_socket() {
    let gateway = Served::start(CONFIG, &[]).await;
    let socket = format!("unix://{}", gateway.path("v.sock").display());
    let call = async |method: &str, request: &str| {
        let method = format!("vidette.v1.EventBus/{method}");
        let args = ["-plaintext", "-d", request, &socket, &method];
        run(find("grpcurl", "bin"), &args).await.ok()
    };
    let publish = r#"{"events":[{"topic":"door.1","data":"e30="}]}"#;
    assert!(
        call("Publish", publish)
            .await
            .contains("\"firstVid\": \"1\"")
    );
    let subscribe = r#"{"after":"earliest","limit":1}"#;
    assert!(
        call("Subscribe", subscribe)
            .await
            .contains("\"vid\": \"1\"")
    );
}

#[tokio::test]
async fn python_publishes_subscribes_and_resumes_over_a_unix_socket() {
    let gateway = Served::start(CONFIG, &[]).await;
    let address = format!("unix:{}", gateway.path("v.sock").display());
    python::check("roundtrip.py", &address).await;
}

/// A proxy before the socket is reached by browsers, also by names that somebody made resolve to
/// it.
#[tokio::test]
async fn a_unix_socket_answers_for_the_gateways_own_hosts_alone() {
    let config = format!("{CONFIG}\n[origins]\nhosts = [\"push.example.org\"]");
    let gateway = Served::start(&config, &[]).await;
    let status = async |host: &str| {
        let url = format!("http://{host}/v1/bus");
        curl(&gateway, &["-o", "/dev/null", "-w", "%{http_code}", &url]).await
    };
    assert_eq!(status("localhost").await, "200");
    assert_eq!(status("push.example.org").await, "200");
    assert_eq!(status("elsewhere.test").await, "421");
}
