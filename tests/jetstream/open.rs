//! Opening a stream, creating it, and looking at it.

use std::process::{Command, Output};

use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use vidette::engine::{Engine as _, JetStreamEngine, JetStreamOptions, NatsCredentials, NatsTls};

use crate::common::nats::{NatsCluster, requirements};
use crate::common::nats_stream::NatsStream;
use crate::common::tls::{Authority, put};

async fn open(options: &JetStreamOptions) -> Result<JetStreamEngine, String> {
    let opened = JetStreamEngine::open(options.clone(), requirements()).await;
    opened.map_err(|error| error.to_string())
}

async fn refused(options: &JetStreamOptions) -> String {
    open(options).await.err().expect("it is refused")
}

fn vidette(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_vidette"))
        .args(arguments)
        .output();
    output.expect("the program")
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

#[tokio::test]
async fn a_stream_is_created_where_it_is_asked_for_and_found_again() {
    let nats = NatsCluster::start(1).await;
    let mut options = nats.options("doors");
    options.create = false;
    let missing = refused(&options).await;
    assert!(
        missing.contains("no stream doors") && missing.contains("--create"),
        "{missing}"
    );

    options.create = true;
    let first = open(&options).await.expect("an engine");
    options.create = false;
    let second = open(&options).await.expect("an engine");
    assert_eq!(first.state().lineage, second.state().lineage);
    let bounds = second.state().bounds;
    assert_eq!((bounds.first, bounds.last), (1, 0));
    let durability = second.durability();
    assert!(durability.contains("only server"), "{durability}");
}

#[tokio::test]
async fn a_stream_that_is_unfit_is_refused_with_each_field_that_does_not_fit() {
    let nats = NatsCluster::start(1).await;
    let options = nats.options("doors");
    let stream = NatsStream::new(nats.client().await, "doors");
    let config = json!({
        "name": "doors", "subjects": ["a.>", "b.>"], "retention": "limits", "storage": "file",
        "max_msgs_per_subject": 1, "allow_rollup_hdrs": true, "allow_msg_ttl": true,
    });
    stream.api("STREAM.CREATE.doors", &config).await;
    let error = refused(&options).await;
    for field in [
        "max_msgs_per_subject",
        "allow_rollup_hdrs",
        "allow_msg_ttl",
        "allow_direct",
        "allow_atomic",
        "subjects",
    ] {
        assert!(error.contains(&format!("\n  {field} ")), "{field}: {error}");
    }

    let nats_url = nats.urls().join(",");
    let checked = vidette(&["check", "--nats", &nats_url, "--stream", "doors"]);
    let report = text(&checked);
    assert_eq!(checked.status.code(), Some(1), "{report}");
    assert!(
        report.contains("unfit     max_msgs_per_subject has to be -1"),
        "{report}"
    );
}

#[tokio::test]
async fn a_prefix_that_the_stream_does_not_take_is_refused() {
    let nats = NatsCluster::start(1).await;
    let mut options = nats.options("doors");
    open(&options).await.expect("an engine");
    options.prefix = Some("gates".to_owned());
    let said = refused(&options).await;
    assert!(
        said.contains("doors.>, and not gates.>") && said.contains("jetstream.prefix"),
        "{said}"
    );
}

#[tokio::test]
async fn a_server_that_takes_only_small_messages_is_refused() {
    let nats = NatsCluster::start_with(1, "max_payload: 1MB").await;
    let error = refused(&nats.options("doors")).await;
    assert!(
        error.contains("max_payload") && error.contains("1064960"),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_is_looked_at_and_given_another_epoch_by_commands() {
    let nats = NatsCluster::start(1).await;
    let options = nats.options("doors");
    let engine = open(&options).await.expect("an engine");
    let before = engine.state().lineage.epoch().to_string();
    let (url, monitor) = (nats.urls().join(","), nats.servers[0].monitor_url());
    let checked = vidette(&[
        "check",
        "--nats",
        &url,
        "--stream",
        "doors",
        "--nats-monitor",
        &monitor,
    ]);
    let report = text(&checked);
    assert!(checked.status.success(), "{report}");
    for part in [
        before.as_str(),
        "fit as a log",
        "syncs every 120s",
        "num_replicas is 1",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }

    let renewed = text(&vidette(&[
        "epoch", "renew", "--nats", &url, "--stream", "doors",
    ]));
    let now = open(&options).await.expect("an engine").state();
    let now = now.lineage.epoch().as_str();
    assert_ne!(now, before);
    assert!(
        renewed.contains(&before) && renewed.contains(now),
        "{renewed}"
    );

    let missing = vidette(&["epoch", "renew", "--nats", &url, "--stream", "other"]);
    assert_eq!(missing.status.code(), Some(1), "{}", text(&missing));
    let unnamed = vidette(&["check"]);
    assert_eq!(unnamed.status.code(), Some(64), "{}", text(&unnamed));
}

/// One server that knows users, and takes no connection without encryption.
#[tokio::test]
async fn credentials_and_encryption_are_those_that_the_servers_ask_for() {
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new("nats");
    put(&folder.path().join("ca.pem"), &authority.pem());
    authority
        .issue(&["localhost", "127.0.0.1"])
        .write(folder.path());
    let pair = KeyPair::new_user();
    let path = |name: &str| folder.path().join(name);
    let certificate = path("cert.pem");
    let extra = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\n\
         authorization {{ users: [{{ user: gate, password: \"pass word\" }}, {{ nkey: {} }}] }}",
        certificate.display(),
        path("key.pem").display(),
        pair.public_key(),
    );
    let nats = NatsCluster::start_with(1, &extra).await;
    let mut options = nats.options("doors");
    options.tls = NatsTls {
        required: true,
        ca: Some(path("ca.pem")),
        client: None,
    };
    let seed = pair.seed().expect("a seed");
    let user = |password: &str| NatsCredentials::User {
        name: "gate".to_owned(),
        password: password.to_owned(),
    };
    for credentials in [user("pass word"), NatsCredentials::NKeySeed(seed)] {
        options.credentials = credentials;
        open(&options).await.expect("an engine");
    }
    for credentials in [user("s3cret"), NatsCredentials::None] {
        options.credentials = credentials;
        let error = refused(&options).await;
        assert!(
            error.contains(&nats.urls()[0]) && !error.contains("s3cret"),
            "{error}"
        );
    }
    options.credentials = user("pass word");
    options.tls.ca = None;
    let untrusted = refused(&options).await;
    assert!(untrusted.contains("cannot connect"), "{untrusted}");
}

#[tokio::test]
async fn a_token_is_shown_and_a_server_that_is_not_there_is_named() {
    let nats = NatsCluster::start_with(1, "authorization { token: abcdef }").await;
    let mut options = nats.options("doors");
    options.credentials = NatsCredentials::Token("abcdef".to_owned());
    let engine = open(&options).await.expect("an engine");
    assert_eq!(engine.kind(), "jetstream");

    options.servers = vec![
        "nats://127.0.0.1:1".to_owned(),
        "nats://127.0.0.1:2".to_owned(),
    ];
    let error = refused(&options).await;
    assert!(
        error.contains("127.0.0.1:1:") && error.contains("127.0.0.1:2:"),
        "{error}"
    );
}

/// A stream that others make anew, as they had it, is another log.
#[tokio::test]
async fn a_stream_that_is_made_anew_has_another_epoch_and_one_that_is_changed_has_the_same() {
    let nats = NatsCluster::start(1).await;
    let options = nats.options("doors");
    let epoch = async || {
        let engine = open(&options).await.expect("an engine");
        engine.state().lineage.epoch().clone()
    };
    let first = epoch().await;
    let stream = NatsStream::new(nats.client().await, "doors");
    stream
        .update(|config: &mut Value| config["max_age"] = json!(7_200_000_000_000_u64))
        .await;
    assert_eq!(epoch().await, first);
    stream.recreate().await;
    assert_ne!(epoch().await, first);
}
