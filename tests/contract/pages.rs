//! The gateway's own pages: what browsers may do with them, what can be switched off, and what is
//! said where nothing is.

use std::fs;
use std::io::Read as _;

use flate2::read::GzDecoder;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue};
use tempfile::TempDir;

use super::support::{Answer, gateway, get};
use crate::common::gateway::Gateway;

const PAGES: [&str; 10] = [
    "/",
    "/clients/",
    "/clients/longpoll/",
    "/clients/longpoll/prototype.html",
    "/clients/eventsource/",
    "/clients/grpcurl/",
    "/docs/",
    "/docs/contract/errors.md",
    "/docs/zh/",
    "/clients/docs/contract/errors.md",
];

async fn asked(gateway: &Gateway, path: &str, header: (&str, &str)) -> reqwest::Response {
    let request = reqwest::Client::new().get(format!("{}{path}", gateway.url()));
    let answer = request.header(header.0, header.1).send().await;
    answer.unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn by_a_browser(gateway: &Gateway, path: &str) -> Answer {
    let accept = (ACCEPT.as_str(), "text/html,application/xhtml+xml,*/*;q=0.8");
    Answer::of(asked(gateway, path, accept).await).await
}

#[tokio::test]
async fn every_page_says_what_browsers_may_do_with_it_and_leads_to_the_documents() {
    let gateway = gateway("memory", "[pages]\nframed_by = \"https://portal.example\"");
    for path in PAGES {
        let page = get(&gateway, path).await;
        assert_eq!(page.status, 200, "{path}");
        let policy = page.header("content-security-policy").expect("a policy");
        let frames = "frame-ancestors 'self' https://portal.example";
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(policy.ends_with(frames), "{path}: {policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("same-origin"));
        assert!(page.text.contains("docs/\">"), "{path}");
    }
    let folder = get(&gateway, "/clients/longpoll").await;
    assert_eq!(folder.status, 200, "by a redirect");
}

/// What a module imports, at once or later, as addresses below `/clients/js/`.
fn imports(module: &str) -> Vec<String> {
    let beside = ["from \"./", "import(\"./"].map(|before| module.split(before).skip(1));
    let names = beside.into_iter().flatten();
    let names = names.filter_map(|rest| rest.split('"').next());
    let names = names.map(|name| format!("/clients/js/{}", name.trim_start_matches("js/")));
    names.collect()
}

#[tokio::test]
async fn the_client_library_is_served_as_it_lies_in_its_package() {
    let gateway = gateway("memory", "[pages]\nstart = false\nclients = false");
    let mut paths = vec!["/clients/vidette.js".to_owned()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        let module = get(&gateway, &path).await;
        assert_eq!(module.status, 200, "{path}");
        let content_type = module.header("content-type").expect("a type");
        assert!(content_type.starts_with("text/javascript"), "{path}");
        assert_eq!(module.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(module.header("cache-control"), Some("no-cache"));
        assert!(module.header("content-security-policy").is_some());
        let (coding, _) = coded(&gateway, &path, "gzip").await;
        assert!(coding.is_some() || module.text.len() < 1024, "{path}");
        if let Some(name) = path.strip_prefix("/clients/js/") {
            let file = format!("{}/clients/js/src/{name}", env!("CARGO_MANIFEST_DIR"));
            assert_eq!(module.text, fs::read_to_string(file).expect("its source"));
        }
        for import in imports(&module.text) {
            if !paths.contains(&import) {
                paths.push(import);
            }
        }
        at += 1;
    }
    let has = |name: &str| paths.iter().any(|path| path.ends_with(name));
    assert!(has("/subscribe.js") && has("/tabs.js") && has("/stream.js"));
}

#[tokio::test]
async fn a_person_gets_a_page_where_nothing_is_and_a_program_a_problem() {
    let gateway = Gateway::in_memory();
    for path in ["/a/<b>", "/docs/nothing.md"] {
        let page = by_a_browser(&gateway, path).await;
        assert_eq!(page.status, 404, "{path}");
        assert!(page.text.contains("Nothing here"), "{path}: {}", page.text);
        assert!(page.text.contains("docs/\">Doc"), "{path}");
        assert!(!page.text.contains("<b>"), "{path}: {}", page.text);
        assert!(page.header("content-security-policy").is_some());
        get(&gateway, path).await.problem(404);
    }
}

#[tokio::test]
async fn pages_can_be_switched_off_and_a_folder_owns_the_root_then() {
    let site = TempDir::new().expect("a folder");
    fs::write(site.path().join("index.html"), "my own").expect("a file");
    let folder = site.path().display();
    let off = format!("[pages]\nstart = false\nclients = false\ndir = \"{folder}\"");
    let gateway = gateway("memory", &off);
    let root = get(&gateway, "/").await;
    assert_eq!((root.status, &*root.text), (200, "my own"));
    let policy = root.header("content-security-policy");
    assert_eq!(policy, Some("frame-ancestors 'self'"));
    assert_eq!(root.header("x-content-type-options"), Some("nosniff"));
    for path in &PAGES[1..] {
        get(&gateway, path).await.problem(404);
    }
    let missing = by_a_browser(&gateway, "/nothing").await;
    assert!(!missing.text.contains("Start page"), "{}", missing.text);
    assert_eq!(get(&gateway, "/clients/style.css").await.status, 200);
}

async fn coded(gateway: &Gateway, path: &str, accepted: &str) -> (Option<HeaderValue>, Vec<u8>) {
    let answer = asked(gateway, path, (ACCEPT_ENCODING.as_str(), accepted)).await;
    let coding = answer.headers().get("content-encoding").cloned();
    let body = answer.bytes().await.expect("a body").to_vec();
    (coding, body)
}

#[tokio::test]
async fn polls_and_pages_are_compressed_for_those_who_take_it() {
    let gateway = Gateway::in_memory();
    let plain_of = async |path: &str| get(&gateway, path).await.text.into_bytes();
    // A poll of one small event is one packet anyway.
    gateway.publish_numbers("door.1", 1).await;
    let poll = "/v1/poll?after=earliest&wait=0&topic=door.1";
    let (coding, _) = coded(&gateway, poll, "gzip, zstd").await;
    assert_eq!(coding, None);

    gateway.publish_numbers("door.2", 900).await;
    let small = "/v1/poll?after=earliest&wait=0&limit=20";
    let large = "/v1/poll?after=earliest&wait=0";
    for path in [
        small,
        large,
        "/clients/style.css",
        "/docs/contract.md",
        "/docs/search.json",
    ] {
        let plain = plain_of(path).await;
        // Twice: the second one is what the first one was made for.
        for _ in 0..2 {
            let (coding, body) = coded(&gateway, path, "gzip, deflate").await;
            assert_eq!(coding.as_ref().expect("a coding"), "gzip", "{path}");
            let mut text = Vec::new();
            GzDecoder::new(&body[..])
                .read_to_end(&mut text)
                .expect("gzip");
            assert!(text == plain && body.len() < plain.len() / 2, "{path}");

            let (coding, body) = coded(&gateway, path, "gzip, zstd").await;
            assert_eq!(coding.as_ref().expect("a coding"), "zstd", "{path}");
            assert_eq!(zstd::decode_all(&body[..]).expect("zstd"), plain, "{path}");
        }
        let answer = get(&gateway, path).await;
        let varies = answer.headers.get_all("vary").iter();
        let mut varies = varies.map(|value| value.to_str().expect("text"));
        assert!(
            varies.any(|value| value.eq_ignore_ascii_case("accept-encoding")),
            "{path}"
        );
    }
    let stream = asked(
        &gateway,
        "/v1/sse?after=earliest",
        ("accept-encoding", "gzip, zstd"),
    )
    .await;
    assert_eq!(stream.headers().get("content-encoding"), None);
}
