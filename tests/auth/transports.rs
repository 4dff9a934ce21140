//! The same credentials on every transport.

use serde_json::json;
use tonic::Code;

use crate::common::token::{in_seconds, rights};
use crate::ground::{
    Folder, KEY, auth, bearer, client, gateway, get, poll, publish, publish_by_grpc, signer,
    subscribe_by_grpc, url,
};

#[tokio::test]
async fn who_shows_a_token_or_a_key_has_its_rights_on_every_transport() {
    let folder = Folder::new();
    let gateway = gateway(&auth(&folder, ""));
    let token = bearer(&signer().token(&rights(&["lift.>"], &["door.>"])));
    let key = bearer(KEY);
    let wrong = bearer("not-a-key");

    for (topic, shown, expected) in [
        ("public.1", "", 200),
        ("door.1", "", 401),
        ("door.1", &token, 200),
        ("public.1", &token, 403),
        ("lift.1", &token, 403),
        ("door.1", &key, 403),
        ("public.1", &wrong, 401),
    ] {
        let what = format!("{topic} by {shown:?}");
        assert_eq!(poll(&gateway, topic, shown).await, expected, "{what}");
        let sse = format!("/v1/sse?wait=0&topic={topic}");
        assert_eq!(get(&gateway, &sse, shown).await.status, expected, "{what}");
        let code = subscribe_by_grpc(&gateway, topic, shown).await;
        assert_eq!(code, code_of(expected), "{what}");
    }
    for (topic, shown, expected) in [
        ("door.1", "", 401),
        ("door.1", &*key, 200),
        ("lift.1", &key, 403),
        ("lift.1", &token, 200),
        ("door.1", &token, 403),
        ("door.1", &wrong, 401),
    ] {
        let what = format!("{topic} by {shown:?}");
        let status = publish(&gateway, topic, shown).await.status;
        assert_eq!(status, expected, "{what}");
        let code = publish_by_grpc(&gateway, topic, shown).await;
        assert_eq!(code, code_of(expected), "{what}");
    }
}

fn code_of(status: u16) -> Code {
    match status {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        _ => Code::Ok,
    }
}

#[tokio::test]
async fn what_is_missing_or_bad_is_asked_for() {
    let folder = Folder::new();
    let gateway = gateway(&auth(&folder, ""));
    let challenge = |answer: &crate::ground::Answer| {
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.json()["type"], "urn:vidette:problem:unauthenticated");
        answer.header("www-authenticate").to_owned()
    };
    let missing = get(&gateway, "/v1/poll?topic=door.1&wait=0", "").await;
    assert_eq!(challenge(&missing), "Bearer realm=\"vidette\"");

    let expired = json!({ "exp": in_seconds(-1), "vidette": { "subscribe": ["door.>"] } });
    let expired = bearer(&signer().token(&expired));
    let bad = get(&gateway, "/v1/poll?topic=door.1&wait=0", &expired).await;
    let expected = "Bearer realm=\"vidette\", error=\"invalid_token\"";
    assert_eq!(challenge(&bad), expected);
    assert!(bad.text.contains("expired"), "{bad:?}");

    // An event stream, too, has a status: coming back with the same would not help.
    let stream = get(&gateway, "/v1/sse?topic=door.1", &expired).await;
    assert_eq!(challenge(&stream), expected);
}

#[tokio::test]
async fn an_empty_section_gives_nobody_anything_and_asks_for_nothing() {
    let gateway = gateway("[auth]");
    assert_eq!(poll(&gateway, "door.1", "").await, 403);
    assert_eq!(publish(&gateway, "door.1", "").await.status, 403);
    assert_eq!(poll(&gateway, "door.1", "Bearer x.y.z").await, 401);
}

#[tokio::test]
async fn metrics_need_the_right_to_the_gateways_own_topic_and_health_needs_none() {
    let folder = Folder::new();
    let gateway = gateway(&auth(&folder, ""));
    let token = |topic| bearer(&signer().token(&rights(&[], &[topic])));
    for (shown, expected) in [
        (String::new(), 401),
        (bearer("wrong"), 401),
        (token(">"), 403),
        (token("vidette.admin"), 200),
        (token("vidette.>"), 200),
    ] {
        let answer = get(&gateway, "/metrics", &shown).await;
        assert_eq!(answer.status, expected, "{shown}");
        for open in ["/healthz", "/readyz", "/", "/clients/page.js"] {
            let answer = get(&gateway, open, &shown).await;
            assert_eq!(answer.status, 200, "{open} {shown}");
        }
    }
    assert_eq!(
        get(&gateway, "/v1/bus", "").await.status,
        200,
        "a right is enough"
    );
}

#[tokio::test]
async fn lines_are_refused_one_by_one_where_the_right_is_missing() {
    let folder = Folder::new();
    let gateway = gateway(&auth(&folder, ""));
    let lines = ["door.1", "lift.1", "door.2"]
        .map(|topic| format!("{{\"topic\":\"{topic}\",\"data\":1}}\n"));
    let request = client().post(url(&gateway, "/v1/events"));
    let request = request.header("content-type", "application/x-ndjson");
    let request = request
        .header("authorization", bearer(KEY))
        .body(lines.concat());
    let answer = crate::ground::Answer::of(request).await;
    let refused: Vec<_> = answer
        .text
        .lines()
        .map(|line| line.contains("403"))
        .collect();
    assert_eq!(refused, [false, true, false], "{answer:?}");
}

#[tokio::test]
async fn grpc_health_and_reflection_are_open() {
    let folder = Folder::new();
    let gateway = gateway(&auth(&folder, ""));
    for shown in ["", "Bearer wrong"] {
        let mut args = vec!["-plaintext"];
        let header = format!("authorization: {shown}");
        if !shown.is_empty() {
            args.extend(["-H", &header]);
        }
        let address = gateway.address().to_string();
        let grpcurl = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/bin/grpcurl");
        for call in ["list", "grpc.health.v1.Health/Check"] {
            let run = tokio::process::Command::new(grpcurl);
            let mut run = run;
            let output = run.args(&args).args([&address, call]).output().await;
            let output = output.expect("grpcurl, which make setup installs");
            let text = String::from_utf8_lossy(&output.stdout);
            let is_answered = text.contains("vidette.v1.EventBus") || text.contains("SERVING");
            assert!(is_answered, "{call} {shown}: {output:?}");
        }
    }
}
