//! `vidette status`, `topics`, `connections` and `admin`: allowed, and refused.

use serde_json::Value;
use tempfile::TempDir;

use super::{VIDETTE, vidette};
use crate::common::gateway::{Gateway, Setup};
use crate::tools::Running;

/// Runs a command against a gateway.
async fn at(gateway: &Gateway, args: &[&str]) -> crate::tools::Output {
    let url = gateway.url();
    vidette(&[args, &["--url", &url]].concat()).await
}

#[tokio::test]
async fn an_operator_looks_and_acts_from_a_terminal() {
    let gateway = Gateway::in_memory();
    gateway.publish_numbers("door.1", 3).await;
    gateway.publish_numbers("gate.1", 2).await;
    let url = gateway.url();
    let mut tail = Running::start(VIDETTE, &["tail", "door.>", "--after", "1", "--url", &url]);
    tail.line_with("door.1").await;

    let status = at(&gateway, &["status"]).await.ok();
    for text in [
        "vids 1 to 5",
        "events/s published",
        "1 on ",
        "TRANSPORT",
        "sse",
    ] {
        assert!(status.contains(text), "{text} in {status}");
    }
    let status = at(&gateway, &["status", "--json"]).await.json();
    assert_eq!(
        (&status["last"], &status["subscribers"]),
        (&5.into(), &1.into())
    );
    let topics = at(&gateway, &["topics", "door.*"]).await.ok();
    assert_eq!(
        topics.split_whitespace().collect::<Vec<_>>(),
        ["3", "door.1"]
    );
    let readers = at(&gateway, &["connections"]).await.ok();
    assert!(
        readers.contains("door.>") && readers.contains("1 readers in all"),
        "{readers}"
    );

    let list = at(&gateway, &["connections", "--json"]).await.json();
    let id = list["connections"][0]["id"].to_string();
    let says = |output: crate::tools::Output| output.ok();
    assert!(says(at(&gateway, &["admin", "cut", &id]).await).contains("is being ended"));
    assert!(says(at(&gateway, &["admin", "delete", "2"]).await).contains("event 2 of door.1"));
    let purged = at(&gateway, &["admin", "purge", "gate.1", "--json"])
        .await
        .json();
    assert_eq!(purged["removed"], Value::from(2));
    assert!(
        says(at(&gateway, &["admin", "read-only", "on"]).await).contains("nothing is published")
    );
    assert!(says(at(&gateway, &["admin", "read-only", "off"]).await).contains("on again"));

    let none = at(&gateway, &["admin", "delete", "2"]).await;
    assert_eq!(none.code(), 1);
    assert!(none.stderr.contains("there is no event 2"), "{none:?}");
    let nobody = at(&gateway, &["admin", "revoke", "alice"]).await;
    assert!(
        nobody.code() == 1 && nobody.stderr.contains("no [auth]"),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn who_may_not_is_refused_by_each_command() {
    let folder = TempDir::new().expect("a folder");
    let key = |name: &'static str, publish: &'static str| async move {
        let subscribe = "vidette.admin";
        let args = ["token", "key", "--name", name, "--subscribe", subscribe];
        let more: &[&str] = if publish.is_empty() {
            &[]
        } else {
            &["--publish", publish]
        };
        let printed = vidette(&[&args, more].concat()).await.ok();
        let (key, section) = printed.split_once('\n').expect("a key, then its section");
        (key.to_owned(), section.to_owned())
    };
    let (looks, one) = key("looks", "").await;
    let (acts, other) = key("acts", "vidette.admin").await;
    let gateway = Gateway::start_with(Setup {
        engine: "memory",
        config: format!("[auth]\n{one}\n{other}\n"),
        ..Setup::default()
    });
    let file = |name: &str, key: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, key).expect("a file");
        path.display().to_string()
    };
    let (looks, acts) = (file("looks", &looks), file("acts", &acts));

    for command in [
        &["status"][..],
        &["topics"],
        &["connections"],
        &["admin", "purge", "a"],
    ] {
        let stranger = at(&gateway, command).await;
        assert_eq!(stranger.code(), 1, "{command:?}");
        assert!(stranger.stderr.contains("--token-file"), "{stranger:?}");
    }
    let with = |command: &[&'static str], token: &str| {
        let args: Vec<String> = command.iter().map(|arg| (*arg).to_owned()).collect();
        [args, vec!["--token-file".into(), token.to_owned()]].concat()
    };
    for command in [
        &["admin", "cut", "1"][..],
        &["admin", "revoke", "looks"],
        &["admin", "purge", "a"],
        &["admin", "delete", "1"],
        &["admin", "read-only", "on"],
    ] {
        let args = with(command, &looks);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let refused = at(&gateway, &args).await;
        assert_eq!(refused.code(), 1, "{command:?}");
        assert!(refused.stderr.contains("vidette.admin"), "{refused:?}");
    }
    let revoke = with(&["admin", "revoke", "looks"], &acts);
    let revoke: Vec<&str> = revoke.iter().map(String::as_str).collect();
    let says = at(&gateway, &revoke).await.ok();
    assert!(says.contains("until the gateway restarts"), "{says}");
    let status = with(&["status"], &looks);
    let status: Vec<&str> = status.iter().map(String::as_str).collect();
    assert_eq!(at(&gateway, &status).await.code(), 1);
}
