//! Files of Unix sockets, from one gateway to the next.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::served::{Served, fails_to_start};

const CONFIG: &str = "listen = \"unix:v.sock\"";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[tokio::test]
async fn the_file_of_a_gateway_that_was_killed_is_replaced() {
    let gateway = Served::start(CONFIG, &[]).await;
    let path = gateway.path("v.sock");
    let gateway = gateway.replace(Signal::SIGKILL, CONFIG).await;
    assert!(gateway.log().contains("is replaced"), "{}", gateway.log());
    assert!(UnixStream::connect(&path).is_ok());
}

#[tokio::test]
async fn a_gateway_removes_its_own_file_at_the_end_and_no_other() {
    let gateway = Served::start(CONFIG, &[]).await;
    let path = gateway.path("v.sock");
    let _folder = gateway.end(Signal::SIGTERM).await;
    assert!(!path.exists());

    let gateway = Served::start(CONFIG, &[]).await;
    let path = gateway.path("v.sock");
    fs::remove_file(&path).expect("removed");
    let _others = UnixListener::bind(&path).expect("bound");
    let _folder = gateway.end(Signal::SIGTERM).await;
    assert!(UnixStream::connect(&path).is_ok());
}

#[tokio::test]
async fn a_live_gateway_and_a_file_that_is_no_socket_are_left_alone() {
    let gateway = Served::start(CONFIG, &[]).await;
    let path = gateway.path("v.sock");
    let config = format!("listen = \"unix:{}\"", path.display());
    let (code, said) = fails_to_start(&config, &[]).await;
    assert_eq!(code, 1, "{said}");
    let shown = path.display();
    let expected = format!("cannot listen on unix:{shown}: another program listens there");
    assert!(said.contains(&expected), "{said}");
    assert!(UnixStream::connect(&path).is_ok());

    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("notes.txt");
    fs::write(&path, "precious").expect("a file");
    let address = format!("unix:{}", path.display());
    let (code, said) = fails_to_start("", &["--listen", &address]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a file that is no socket is there"), "{said}");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
}

#[tokio::test]
async fn permissions_are_those_of_the_configuration() {
    for (setting, expected) in [("660", 0o660), ("600", 0o600), ("777", 0o777)] {
        let config = format!("unix_mode = \"{setting}\"\n{CONFIG}");
        let gateway = Served::start(&config, &[]).await;
        assert_eq!(mode(&gateway.path("v.sock")), expected);
    }
}

#[tokio::test]
async fn a_path_that_is_too_long_is_refused_with_both_lengths() {
    let long = "x".repeat(108);
    let address = format!("unix:/{long}");
    let (code, said) = fails_to_start("", &["--listen", &address]).await;
    assert_eq!(code, 64, "{said}");
    let config = format!("[limits]\n\nmax_connections = \"many\"\n[bus]\n[x]\ny = \"{long}\"");
    assert!(
        said.contains("109 bytes") && said.contains("at most 107"),
        "{said}"
    );

    let (code, said) = fails_to_start(&format!("listen = \"unix:{long}\"\n{config}"), &[]).await;
    assert_eq!(code, 64, "{said}");
    assert!(
        said.contains("vidette.toml:1:10: listen: the path"),
        "{said}"
    );
    assert!(
        said.contains("limits.max_connections"),
        "all at once: {said}"
    );
}
