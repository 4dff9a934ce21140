//! `vidette tail` and `vidette publish` before a gateway that encrypts and asks who they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{VIDETTE, vidette, vidette_with_input};
use crate::common::gateway::{Gateway, Setup};
use crate::common::tls::{Authority, LOCAL_NAMES, put};
use crate::tools::{Output, Running, run};

const TRANSPORTS: [&str; 3] = ["sse", "poll", "grpc"];

/// A gateway with tokens, an API key and client certificates; readers see `door.>` alone.
struct Protected {
    gateway: Gateway,
    authority: Authority,
    folder: TempDir,
    /// The key that may publish everything.
    key: String,
}

impl Protected {
    async fn start() -> Self {
        let (authority, folder) = (Authority::new("tests"), TempDir::new().expect("a folder"));
        authority.issue(&LOCAL_NAMES).write(folder.path());
        put(&folder.path().join("ca.pem"), &authority.pem());
        let path = |name: &str| folder.path().join(name).display().to_string();
        vidette(&["token", "secret", &path("jwt.key")]).await.ok();
        let section = vidette(&["token", "key", "--name", "tests", "--publish", ">"])
            .await
            .ok();
        let (key, section) = section.split_once('\n').expect("a key, then its section");
        let gateway = Gateway::start_with(Setup {
            engine: "memory",
            config: config(folder.path(), section),
            ..Setup::default()
        });
        let key = key.to_owned();
        Protected {
            gateway,
            authority,
            folder,
            key,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text_path(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Puts a fresh token into a file: it gives rights for `door.>`.
    async fn put_token(&self, name: &str, expires_in: &str) -> String {
        let secret = self.text_path("jwt.key");
        let args = [
            "token",
            "new",
            "--secret-file",
            &secret,
            "--subscribe",
            "door.>",
            "--publish",
            "door.>",
            "--expires-in",
            expires_in,
        ];
        let token = vidette(&args).await.ok();
        put(&self.path(name), &token);
        token.trim().to_owned()
    }

    fn client(&self) -> reqwest::Client {
        let client = self.authority.http_client().build();
        client.expect("a client")
    }

    /// Publishes an event; gives its vid.
    async fn publish(&self, topic: &str) -> u64 {
        let url = format!("{}/v1/events", self.gateway.url());
        let request = self.client().post(url).bearer_auth(&self.key);
        let answer = request.json(&json!({ "topic": topic, "data": 1 })).send();
        let answer: Value = answer.await.expect("an answer").json().await.expect("JSON");
        answer["vid"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }

    /// Is this token taken now?
    async fn takes(&self, token: &str) -> bool {
        let url = format!("{}/v1/poll?topic=door.1&wait=0", self.gateway.url());
        let answer = self.client().get(url).bearer_auth(token).send().await;
        answer.expect("an answer").status().is_success()
    }

    /// The newest vid.
    async fn last(&self) -> u64 {
        let url = format!("{}/v1/bus", self.gateway.url());
        let answer = self.client().get(url).bearer_auth(&self.key).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        answer["last"].as_u64().expect("a vid")
    }

    /// The flags by which it is reached and trusted.
    fn reached(&self) -> [String; 4] {
        let ca = self.text_path("ca.pem");
        ["--url".into(), self.gateway.url(), "--ca".into(), ca]
    }
}

fn config(folder: &Path, api_key: &str) -> String {
    let folder = folder.display();
    format!(
        "[tls]\ncertificate = \"{folder}/cert.pem\"\nkey = \"{folder}/key.pem\"\n\
         client_ca = \"{folder}/ca.pem\"\n\
         [[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = \"{folder}/jwt.key\"\n\
         leeway = \"0s\"\n{api_key}\n\
         [[auth.certificate]]\nname = \"reader.example\"\nsubscribe = [\"door.>\"]\n"
    )
}

/// A command line: these words, then the flags by which the gateway is reached.
fn with<'a>(words: &[&'a str], reached: &'a [String]) -> Vec<&'a str> {
    let reached = reached.iter().map(String::as_str);
    words.iter().copied().chain(reached).collect()
}

fn vid_of(line: &str) -> u64 {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    event["vid"].as_u64().expect("a vid")
}

/// What other users of the machine see of a command.
fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn outlives_its_token(gateway: Arc<Protected>, via: &'static str) {
    let file = format!("{via}.token");
    let first = gateway.put_token(&file, "2s").await;
    let (reached, path) = (gateway.reached(), gateway.text_path(&file));
    let words = [
        "tail",
        "door.>",
        "--after",
        "earliest",
        "--json",
        "--via",
        via,
        "--token-file",
        &path,
    ];
    let mut tail = Running::start(VIDETTE, &with(&words, &reached));
    let mut vids = vec![vid_of(&tail.line().await.expect("the first event"))];
    let command_line = command_line(tail.pid());

    let second = gateway.put_token(&file, "1h").await;
    while gateway.takes(&first).await {
        gateway.publish("door.1").await;
    }
    let last = gateway.publish("door.1").await;
    while *vids.last().expect("a vid") < last {
        vids.push(vid_of(&tail.line().await.expect("an event")));
    }
    assert_eq!(vids, (1..=last).collect::<Vec<_>>(), "{via}");

    let said = tail.complaints() + &command_line + &gateway.gateway.log();
    for secret in [first, second, gateway.key.clone()] {
        assert!(!said.contains(&secret), "{via}: a secret in {said}");
    }
}

#[tokio::test]
async fn tail_goes_on_when_its_token_expires_and_misses_and_repeats_nothing() {
    let gateway = Arc::new(Protected::start().await);
    gateway.publish("door.1").await;
    let tails = TRANSPORTS.map(|via| tokio::spawn(outlives_its_token(gateway.clone(), via)));
    for tail in tails {
        tail.await.expect("it goes on");
    }
}

#[tokio::test]
async fn publish_goes_on_when_its_token_expires_although_lines_have_no_ids() {
    let gateway = Protected::start().await;
    let first = gateway.put_token("token", "2s").await;
    let (reached, path) = (gateway.reached(), gateway.text_path("token"));
    let words = ["publish", "--ndjson", "-", "--token-file", &path];
    let mut publish = Running::start(VIDETTE, &with(&words, &reached));
    let mut lines = 0;
    let mut say_one = async |publish: &mut Running| {
        lines += 1;
        let line = format!("{{\"topic\":\"door.1\",\"data\":{lines}}}\n");
        publish.say(&line).await;
        lines
    };
    say_one(&mut publish).await;
    let until_published = || async { gateway.last().await == 1 };
    gateway
        .gateway
        .until("the first line is published", until_published)
        .await;

    gateway.put_token("token", "1h").await;
    while gateway.takes(&first).await {
        say_one(&mut publish).await;
    }
    let lines = say_one(&mut publish).await;
    let output = publish.end().await;
    assert!(!output.stderr.contains(&first), "{output:?}");
    output.ok();

    let url = format!(
        "{}/v1/poll?after=earliest&wait=0&limit=100000",
        gateway.gateway.url()
    );
    let token = gateway.put_token("token", "1h").await;
    let answer = gateway.client().get(url).bearer_auth(token).send().await;
    let answer: Value = answer.expect("an answer").json().await.expect("JSON");
    let events = answer["events"].as_array().expect("events");
    let data: Vec<u64> = events
        .iter()
        .filter_map(|event| event["data"].as_u64())
        .collect();
    assert_eq!(data, (1..=lines).collect::<Vec<_>>());
}

/// The command with these words on each transport, and when it publishes.
async fn each_way(words: &[&str], reached: &[String]) -> Vec<Output> {
    let mut outputs = Vec::new();
    for via in TRANSPORTS {
        let tail = [&["tail", "door.>", "--via", via], words].concat();
        outputs.push(vidette(&with(&tail, reached)).await);
    }
    let publish = [&["publish", "door.1", "1"], words].concat();
    outputs.push(vidette(&with(&publish, reached)).await);
    let lines = [&["publish", "--ndjson", "-"], words].concat();
    let line = "{\"topic\":\"door.1\",\"data\":1}";
    outputs.push(vidette_with_input(&with(&lines, reached), line).await);
    outputs
}

fn all_end_with(outputs: &[Output], code: i32, text: &str) {
    for output in outputs {
        let fits = output.code() == code && output.stderr.contains(text);
        assert!(fits, "{code} {text:?}: {output:?}");
    }
}

#[tokio::test]
async fn who_is_not_let_in_learns_why_and_what_helps() {
    let gateway = Protected::start().await;
    let reached = gateway.reached();
    let (wrong, strange) = (gateway.text_path("wrong"), gateway.text_path("strange"));
    put(&gateway.path("wrong"), "no-such-key-s3cret\n");
    put(&gateway.path("strange"), "two words\n");
    all_end_with(&each_way(&[], &reached).await, 1, "a token");

    let outputs = each_way(&["--token-file", &wrong], &reached).await;
    all_end_with(&outputs, 1, "put a new one there");
    for output in outputs {
        assert!(!output.stderr.contains("s3cret"), "{output:?}");
    }
    let outputs = each_way(&["--token-file", &strange], &reached).await;
    all_end_with(&outputs, 1, "it is not one token");
    let missing = ["--token-file", "/nowhere/at/all"];
    all_end_with(&each_way(&missing, &reached).await, 64, "/nowhere/at/all");

    gateway.put_token("token", "1h").await;
    let token = gateway.text_path("token");
    for words in [
        ["tail", "gate.>"],
        ["tail", "gate.1"],
        ["publish", "gate.1"],
    ] {
        let words = [&words[..], &["--token-file", &token]].concat();
        let output = vidette_with_input(&with(&words, &reached), "1").await;
        let is_refused = output.code() == 1 && output.stderr.contains("may not");
        assert!(is_refused, "{words:?} {output:?}");
    }
}

#[tokio::test]
async fn a_token_may_come_from_the_environment_and_covers_a_part_of_what_is_asked() {
    let gateway = Protected::start().await;
    let token = gateway.put_token("token", "1h").await;
    gateway.publish("gate.1").await;
    gateway.publish("door.1").await;
    let (reached, variable) = (gateway.reached(), format!("VIDETTE_TOKEN={token}"));
    for via in TRANSPORTS {
        let words = [
            &variable, VIDETTE, "tail", "--after", "earliest", "--limit", "1", "--json", "--via",
            via,
        ];
        let output = run("env", &with(&words, &reached)).await;
        assert!(output.stderr.contains("door.>"), "{via} {output:?}");
        assert_eq!(vid_of(&output.ok()), 2, "{via}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_an_identity() {
    let gateway = Protected::start().await;
    gateway.publish("door.1").await;
    let identity = gateway.authority.issue(&["reader.example"]);
    put(&gateway.path("reader.pem"), &identity.certificate);
    put(&gateway.path("reader.key"), &identity.key);
    let (reached, key) = (gateway.reached(), gateway.text_path("reader.key"));
    let shown = [
        "--certificate",
        &gateway.text_path("reader.pem"),
        "--key",
        &key,
    ];
    for via in TRANSPORTS {
        let words = [
            "tail", "door.>", "--after", "earliest", "--limit", "1", "--via", via,
        ];
        vidette(&with(&[&words[..], &shown].concat(), &reached))
            .await
            .ok();
    }
    let publish = [&["publish", "door.1", "1"][..], &shown].concat();
    let output = vidette(&with(&publish, &reached)).await;
    assert!(
        output.code() == 1 && output.stderr.contains("may not"),
        "{output:?}"
    );

    // Of an authority that the gateway does not trust.
    let strange = Authority::new("strange").issue(&["reader.example"]);
    put(&gateway.path("reader.pem"), &strange.certificate);
    put(&gateway.path("reader.key"), &strange.key);
    let refused = "does not take the client certificate";
    for via in ["sse", "poll"] {
        let words = [&["tail", "--via", via][..], &shown].concat();
        let output = vidette(&with(&words, &reached)).await;
        all_end_with(&[output], 1, refused);
    }
    let output = vidette(&with(&publish, &reached)).await;
    all_end_with(&[output], 1, refused);
    // gRPC does not get to know it, and tries again.
    let words = [&["tail", "--via", "grpc"][..], &shown].concat();
    let tail = Running::start(VIDETTE, &with(&words, &reached));
    let is_told = || async { tail.complaints().contains(refused) };
    gateway.gateway.until("tail says it", is_told).await;
}

#[tokio::test]
async fn encryption_that_fails_says_what_helps() {
    let gateway = Protected::start().await;
    let url = ["--url".to_owned(), gateway.gateway.url()];
    all_end_with(&each_way(&[], &url).await, 1, "--ca FILE");

    let other = gateway.text_path("other.pem");
    put(Path::new(&other), &Authority::new("other").pem());
    all_end_with(&each_way(&["--ca", &other], &url).await, 1, "--ca FILE");
    let token = gateway.text_path("jwt.key");
    all_end_with(
        &each_way(&["--ca", &token], &url).await,
        64,
        "CA certificate",
    );
    all_end_with(
        &each_way(&["--ca", "/nowhere"], &url).await,
        64,
        "--ca /nowhere",
    );

    let plain = Gateway::in_memory();
    let encrypted = ["--url".to_owned(), plain.url().replace("http:", "https:")];
    let outputs = each_way(&["--ca", &other], &encrypted).await;
    all_end_with(&outputs, 1, "give the address with http://");
    let unencrypted = ["--url".to_owned(), plain.url()];
    let outputs = each_way(&["--ca", &other], &unencrypted).await;
    all_end_with(&outputs, 64, "https://");
}

#[tokio::test]
async fn a_gateway_that_encrypts_is_known_by_its_answer_to_what_is_not_encrypted() {
    let gateway = Protected::start().await;
    let url = gateway.gateway.url().replace("https:", "http:");
    for via in TRANSPORTS {
        let tail = Running::start(VIDETTE, &["tail", "--via", via, "--url", &url]);
        let is_told = || async { tail.complaints().contains("https://") };
        gateway.gateway.until("tail says https://", is_told).await;
    }
    let output = vidette(&["publish", "door.1", "1", "--url", &url]).await;
    assert!(
        output.code() == 1 && output.stderr.contains("https://"),
        "{output:?}"
    );
}
