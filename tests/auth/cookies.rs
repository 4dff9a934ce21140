//! Cookies, which a browser sends along whichever page asks (contract §8).

use serde_json::Value;
use tokio::process::Command;

use crate::common::gateway::Gateway;
use crate::common::token::rights;
use crate::ground::{Folder, auth, gateway, signer};

const ALLOWED: &str = "https://app.test";

fn with_cookies(folder: &Folder) -> Gateway {
    let auth = auth(folder, "cookie = \"session\"");
    gateway(&format!("{auth}\n[origins]\nallow = [\"{ALLOWED}\"]"))
}

/// curl with these headers: the status, and the answer's headers and body.
async fn curl(gateway: &Gateway, target: &str, headers: &[String], more: &[&str]) -> (u16, String) {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "-i", "-w", "\n%{http_code}"])
        .args(more);
    for header in headers {
        command.args(["-H", header]);
    }
    let url = format!("{}{target}", gateway.url());
    let output = command.arg(url).output().await.expect("curl");
    let text = String::from_utf8(output.stdout).expect("text");
    let (answer, status) = text.rsplit_once('\n').expect("a last line");
    (status.parse().expect("a status"), answer.to_owned())
}

fn headers(origin: Option<&str>, site: Option<&str>, cookie: &str) -> Vec<String> {
    let mut headers = vec![format!("Cookie: theme=dark; session={cookie}")];
    headers.extend(origin.map(|origin| format!("Origin: {origin}")));
    headers.extend(site.map(|site| format!("Sec-Fetch-Site: {site}")));
    headers
}

#[tokio::test]
async fn a_cookie_counts_where_the_page_may_be_trusted() {
    let folder = Folder::new();
    let gateway = with_cookies(&folder);
    let own = gateway.url();
    let cookie = signer().token(&rights(&["door.>"], &["door.>"]));
    let (yes, no) = (true, false);
    for (origin, site, reads, publishes) in [
        (None, None, yes, no),
        (None, Some("none"), yes, no),
        (None, Some("same-origin"), yes, no),
        (None, Some("same-site"), no, no),
        (None, Some("cross-site"), no, no),
        (Some(&*own), None, yes, yes),
        (Some(&*own), Some("same-origin"), yes, yes),
        (Some(ALLOWED), Some("cross-site"), yes, yes),
        (Some("https://evil.test"), Some("cross-site"), no, no),
        (Some("https://evil.test"), None, no, no),
        (Some("https://app.test.evil.test"), None, no, no),
        (Some("http://app.test"), None, no, no),
        (Some("null"), None, no, no),
    ] {
        let what = format!("{origin:?} {site:?}");
        let headers = headers(origin, site, &cookie);
        for target in [
            "/v1/poll?wait=0&topic=door.1",
            "/v1/sse?wait=0&topic=door.1",
        ] {
            let (status, _) = curl(&gateway, target, &headers, &[]).await;
            assert_eq!(status == 200, reads, "{what} {target}: {status}");
        }
        let (status, _) = curl(&gateway, "/v1/topics/door.1", &headers, &["-d", "1"]).await;
        assert_eq!(status == 200, publishes, "{what}: {status}");
    }
}

#[tokio::test]
async fn a_header_counts_before_a_cookie_and_a_bad_one_is_not_passed_over() {
    let folder = Folder::new();
    let gateway = with_cookies(&folder);
    let poll = "/v1/poll?wait=0&topic=door.1";
    let good = signer().token(&rights(&[], &["door.>"]));
    let other = signer().token(&rights(&[], &["lift.>"]));
    let both = |header: &str, cookie: &str| {
        let mut headers = headers(None, None, cookie);
        headers.push(format!("Authorization: Bearer {header}"));
        headers
    };
    for (header, cookie, expected) in [
        (&*good, &*other, 200),
        (&other, &good, 403),
        ("garbage", &good, 401),
        (&good, "garbage", 200),
    ] {
        let (status, answer) = curl(&gateway, poll, &both(header, cookie), &[]).await;
        assert_eq!(status, expected, "{answer}");
    }
    let (status, answer) = curl(&gateway, poll, &headers(None, None, "garbage"), &[]).await;
    assert_eq!(status, 401, "{answer}");
    assert!(answer.contains("error=\"invalid_token\""), "{answer}");
}

#[tokio::test]
async fn a_page_may_ask_with_a_token_and_reads_why_it_is_refused() {
    let folder = Folder::new();
    for (allow, credentials) in [
        ("", false),
        ("\n[origins]\nallow = [\"https://app.test\"]", true),
    ] {
        let gateway = gateway(&(auth(&folder, "") + allow));
        let preflight = [
            format!("Origin: {ALLOWED}"),
            "Access-Control-Request-Method: GET".to_owned(),
            "Access-Control-Request-Headers: authorization".to_owned(),
        ];
        let (status, answer) = curl(&gateway, "/v1/poll", &preflight, &["-X", "OPTIONS"]).await;
        let answer = answer.to_lowercase();
        assert_eq!(status, 200, "{answer}");
        assert!(
            answer.contains("access-control-allow-headers: authorization"),
            "{answer}"
        );

        let page = [
            format!("Origin: {ALLOWED}"),
            "Authorization: Bearer x".to_owned(),
        ];
        let (status, answer) = curl(&gateway, "/v1/poll", &page, &[]).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert_eq!(status, 401, "{answer}");
        let body: Value = serde_json::from_str(body).expect("a problem");
        assert_eq!(body["status"], 401);
        let head = head.to_lowercase();
        assert!(head.contains("access-control-allow-origin: "), "{head}");
        let with_credentials = head.contains("access-control-allow-credentials: true");
        assert_eq!(with_credentials, credentials, "{head}");
        assert!(head.contains("www-authenticate"), "{head}");
    }
}
