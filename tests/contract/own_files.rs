//! Pages of the user's own (`pages.dir`): what lies in the folder, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::support::{get, post, send_raw};
use crate::common::gateway::{Gateway, Setup};

/// A folder with pages, secrets, and links out of it and into it.
fn site() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let write = |path: &Path, text: &str| fs::write(path, text).expect("a file");
    for name in [
        "outside",
        "site/sub",
        "site/.git",
        "site/.well-known",
        "site/empty",
    ] {
        fs::create_dir_all(at(name)).expect("a folder");
    }
    write(&at("outside/secret.txt"), "confidential");
    write(&at("outside/index.html"), "confidential");
    write(&at("site/a.html"), "a page");
    write(&at("site/sub/index.html"), "an index");
    write(&at("site/.env"), "confidential");
    write(&at("site/.git/config"), "confidential");
    write(&at("site/.well-known/security.txt"), "well known");
    symlink(at("outside"), at("site/out")).expect("a link");
    symlink(at("outside/secret.txt"), at("site/link.txt")).expect("a link");
    symlink("../outside/index.html", at("site/empty/index.html")).expect("a link");
    symlink("a.html", at("site/inside.html")).expect("a link");
    symlink(".env", at("site/env.txt")).expect("a link");
    symlink("loop", at("site/loop")).expect("a link");
    nix::unistd::mkfifo(&at("site/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    folder
}

fn gateway_of(site: &TempDir) -> Gateway {
    let folder = site.path().join("site").display().to_string();
    Gateway::start_with(Setup {
        engine: "memory",
        flags: vec!["--pages-dir".to_owned(), folder],
        ..Setup::default()
    })
}

#[tokio::test]
async fn only_what_lies_in_the_folder_is_served() {
    let site = site();
    let gateway = gateway_of(&site);
    for (path, text) in [
        ("/a.html", "a page"),
        ("/inside.html", "a page"),
        ("/sub/", "an index"),
        ("/sub", "an index"), // by a redirect
        ("/.well-known/security.txt", "well known"),
    ] {
        let answer = get(&gateway, path).await;
        assert_eq!((answer.status, &*answer.text), (200, text), "{path}");
    }
    let page = get(&gateway, "/a.html").await;
    assert_eq!(page.header("content-type"), Some("text/html"));
    for path in [
        "/missing",
        "/out/secret.txt",
        "/out/",
        "/link.txt",
        "/empty/",
        "/.env",
        "/%2eenv",
        "/env.txt",
        "/.git/config",
        "/.git/",
        "/loop",
        "/pipe",
        "/a.html/",
        "/a.html%00",
    ] {
        let answer = get(&gateway, path).await;
        assert!(!answer.text.contains("confidential"), "{path}");
        answer.problem(404);
    }
    // A client of HTTP takes the dots out of an address itself.
    for path in [
        "/../outside/secret.txt",
        "/sub/../../outside/secret.txt",
        "/%2e%2e/outside/secret.txt",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let answer = send_raw(&gateway, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let answer = post(&gateway, "/a.html", "text/plain", "x").await;
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    answer.problem(405);
}

#[tokio::test]
async fn a_redirect_never_leads_to_another_host() {
    let site = site();
    fs::create_dir_all(site.path().join("site/evil.example")).expect("a folder");
    fs::write(site.path().join("site/evil.example/index.html"), "x").expect("a file");
    let gateway = gateway_of(&site);
    for target in [
        "//evil.example",
        "///evil.example",
        "//evil.example/..",
        "//evil.example/%2e%2e",
        "/%2Fevil.example",
        "/\\evil.example",
        "/%5Cevil.example",
        "/.//evil.example",
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        let answer = send_raw(&gateway, request.as_bytes()).await;
        assert!(
            !answer.to_lowercase().contains("\r\nlocation:"),
            "{target}: {answer}"
        );
    }
    let request =
        "GET /evil.example?a=//b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    let answer = send_raw(&gateway, request.as_bytes()).await;
    assert!(
        answer.contains("\r\nlocation: /evil.example/?a=//b\r\n"),
        "{answer}"
    );
}
