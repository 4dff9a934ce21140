//! The kit for libraries that no adapter starts, asked as a page or a person would.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};

/// `vidette-kit serve` on a free port; killed when dropped.
struct Kit {
    process: Child,
    address: String,
}

impl Kit {
    fn serve() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_vidette-kit"))
            .arg("serve")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the kit starts");
        let mut said = String::new();
        BufReader::new(process.stdout.take().expect("its stdout"))
            .read_line(&mut said)
            .expect("its address");
        let address = said.trim().trim_start_matches("http://").to_owned();
        Kit { process, address }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        exchange(&self.address, method, path, body)
    }

    /// Begins a scenario; the address of its server.
    fn start(&self, scenario: &str) -> String {
        let answer = self.ask("POST", &format!("/kit/start?scenario={scenario}"), "");
        let begun = answer.split_once("http://").expect("a URL").1;
        begun.split('"').next().unwrap_or_default().to_owned()
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whatever comes until the server closes the connection.
fn exchange(address: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: kit\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("it is sent");
    // The server closes once it has answered the last request.
    stream.shutdown(Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_library_without_an_adapter_is_judged_by_what_it_asks_and_says() {
    let kit = Kit::serve();
    let server = kit.start("C/hole");
    let verdict = kit.ask("GET", "/kit/verdict", "");
    assert!(
        verdict.contains("was never asked for"),
        "{server} {verdict}"
    );

    let server = kit.start("B/fail");
    let answer = exchange(&server, "GET", "/v1/sse?after=10-k3x9q2&on_gap=fail", "");
    assert!(answer.starts_with("HTTP/1.1 410"), "{answer}");
    let said = r#"{"say":"error","kind":"gap"}"#;
    kit.ask("POST", "/kit/said", said);
    let verdict = kit.ask("GET", "/kit/verdict", "");
    assert!(verdict.ends_with(r#"{"ok":true,"wrong":[]}"#), "{verdict}");

    let nothing = kit.ask("GET", "/kit/verdict", "");
    assert!(nothing.contains("no scenario is played"), "{nothing}");
}
