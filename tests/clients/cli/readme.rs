//! The protected gateway of README.md, from nothing: its commands, run as they stand there.

use std::path::Path;

use tempfile::TempDir;

use super::VIDETTE;
use crate::tools::run;

const PAGE: &str = include_str!("../../../README.md");

/// The commands between the marks, for a gateway on this port.
fn commands(port: u16) -> String {
    let (_, marked) = PAGE.split_once("<!-- PROTECTED -->").expect("the mark");
    let (_, block) = marked.split_once("```sh\n").expect("commands");
    let (commands, _) = block.split_once("```").expect("their end");
    commands.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
}

/// As a person would have them in a terminal: the gateway is there when the next one is typed.
fn script(folder: &Path, port: u16) -> String {
    let address = format!("127.0.0.1:{port}");
    let ready = format!(
        "vidette.toml &\ngateway=$!\ntrap 'kill $gateway; wait' EXIT\n\
         curl -fs --retry 200 --retry-delay 1 --retry-connrefused http://{address}/readyz >ready\n"
    );
    let programs = Path::new(VIDETTE).parent().expect("a folder");
    format!(
        "set -e\ncd {}\nexport PATH={}:$PATH VIDETTE_LISTEN={address} VIDETTE_URL=http://{address}\n{}",
        folder.display(),
        programs.display(),
        commands(port).replace("vidette.toml &\n", &ready)
    )
}

/// A port below those that outgoing connections take.
fn free_port() -> u16 {
    let mut ports = (0..1000).map(|_| fastrand::u16(16_000..30_000));
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a free port")
}

#[tokio::test]
async fn a_protected_gateway_takes_a_few_commands() {
    let folder = TempDir::new().expect("a folder");
    let script = script(folder.path(), free_port());
    let output = run("bash", &["-c", &script]).await;
    let said = output.stderr.clone();
    let printed = output.ok();
    let (tail, poll) = printed
        .split_once("{\"epoch\"")
        .unwrap_or_else(|| panic!("{printed} {said}"));
    assert!(
        tail.contains("door.3") && tail.contains("{\"doorno\":3}"),
        "{tail}"
    );
    assert!(poll.contains("\"topic\":\"door.3\""), "{poll}");

    for secret in ["jwt.key", "doors.key", "alice.token"] {
        let secret = std::fs::read_to_string(folder.path().join(secret)).expect("a file");
        assert!(!said.contains(secret.trim()), "{said}");
    }
}
