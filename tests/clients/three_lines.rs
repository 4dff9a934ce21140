//! The three lines for each language in `examples/README.md`, run as they stand there.

use serde_json::json;
use tokio::time::timeout;

use crate::common::gateway::{Gateway, PATIENCE};
use crate::tools::{Running, root};

const PAGE: &str = include_str!("../../examples/README.md");

/// A language as its block is marked on the page, the folder in which its library is found, and a
/// program that takes code on its standard input.
macro_rules! blocks {
    ($($language:ident: $folder:literal, $($argument:expr),+;)+) => {
        $(#[tokio::test]
        async fn $language() {
            reads_an_event(stringify!($language), $folder, &[$($argument),+]).await;
        })+
    };
}

blocks! {
    python: "clients/python/src", &in_repository(".tools/venv/bin/python"), "-u", "-";
    js: "examples/door-alarms/node", "node", "--input-type=module", "-";
    php: "examples/door-alarms/php", "php";
    sh: ".", "sh", "-s";
}

fn in_repository(program: &str) -> String {
    root().join(program).display().to_string()
}

async fn reads_an_event(language: &str, folder: &str, command: &[&str]) {
    let gateway = Gateway::in_memory();
    let opened = json!({ "topic": "door.3", "type": "opened", "data": { "no": 3 } });
    gateway.publish(&opened).await;

    let folder = in_repository(folder);
    let mut program = Running::start("env", &[&["-C", &folder], command].concat());
    program.say(&code(language, &gateway.url())).await;
    program.hush();

    // Heartbeats are lines, too.
    let event = timeout(PATIENCE, program.line_with("door.3")).await;
    assert!(event.is_ok(), "no event: {}", program.complaints());
}

/// The block of this language, for this gateway.
fn code(language: &str, url: &str) -> String {
    let (_, block) = PAGE
        .split_once(&format!("```{language}\n"))
        .expect("a block");
    let (code, _) = block.split_once("```").expect("its end");
    assert!(code.contains("http://127.0.0.1:8080"), "{code}");
    code.replace("http://127.0.0.1:8080", url)
}
