//! Short addresses, in the file, in the environment and as flags.

use nix::sys::signal::Signal;

use crate::served::{Served, fails_to_start};
use crate::tools::{find, run};

/// Is there an answer at this address?
async fn is_reached(address: &str) -> bool {
    let url = format!("http://{address}/healthz");
    let args = ["-sS", "-g", "--max-time", "20", url.as_str()];
    let output = run(find("curl", "bin"), &args).await;
    output.stdout == "ok\n"
}

/// An address of this machine that is not a loopback one, if it has any.
fn outer_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only chooses the address that it would send from.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[tokio::test]
async fn a_port_alone_and_localhost_are_the_loopback_address() {
    for text in ["0", "localhost:0"] {
        let gateway = Served::start("", &["--listen", text]).await;
        let port = gateway.port();
        assert_eq!(gateway.addresses(), [format!("http://127.0.0.1:{port}")]);
        assert!(is_reached(&format!("127.0.0.1:{port}")).await);
        if let Some(outer) = outer_address() {
            assert!(!is_reached(&format!("{outer}:{port}")).await, "{outer}");
        }
    }
}

#[tokio::test]
async fn a_colon_before_the_port_is_every_address_of_both_families() {
    let gateway = Served::start("listen = \":0\"\n[auth]", &[]).await;
    let port = gateway.port();
    assert!(is_reached(&format!("127.0.0.1:{port}")).await);
    assert!(is_reached(&format!("127.0.0.7:{port}")).await);
    if has_ipv6() {
        assert!(is_reached(&format!("[::1]:{port}")).await);
    }
    if let Some(outer) = outer_address() {
        assert!(is_reached(&format!("{outer}:{port}")).await, "{outer}");
    }
}

#[tokio::test]
async fn the_environment_wins_over_the_file_and_flags_over_both() {
    let file = "listen = \"unix:file.sock\"";
    let in_environment = ["env", "VIDETTE_LISTEN=127.0.0.2:0,localhost:0"];
    let gateway = Served::start_as(&in_environment, file, &[]).await;
    gateway.until_it_says("listening on http://127.0.0.1").await;
    let addresses = gateway.addresses();
    assert!(
        addresses[0].starts_with("http://127.0.0.2:"),
        "{addresses:?}"
    );
    assert_eq!(addresses.len(), 2);
    let _folder = gateway.end(Signal::SIGTERM).await;

    let gateway = Served::start_as(&in_environment, file, &["--listen", "127.0.0.3:0"]).await;
    let addresses = gateway.addresses();
    assert!(
        addresses[0].starts_with("http://127.0.0.3:"),
        "{addresses:?}"
    );
    assert_eq!(addresses.len(), 1);
}

#[tokio::test]
async fn what_is_no_address_is_refused_wherever_it_stands() {
    for (config, flags) in [
        ("listen = []", &[][..]),
        ("listen = \"8080x\"", &[]),
        ("listen = [\"example.org:80\"]", &[]),
        ("", &["--listen", "8080x"]),
        ("", &["--listen", "example.org:80"]),
    ] {
        let (code, said) = fails_to_start(config, flags).await;
        assert_eq!(code, 64, "{config} {flags:?}: {said}");
        assert!(said.contains("listen"), "{said}");
    }
}
