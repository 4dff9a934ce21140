//! Tokens in a query parameter, where that is switched on.

use crate::common::gateway::{Gateway, Setup};
use crate::common::token::rights;
use crate::ground::{Answer, Folder, KEY, auth, bearer, client, get, signer, url};

/// A gateway that logs all that there is to be logged.
fn talkative(config: String) -> Gateway {
    Gateway::start_with(Setup {
        engine: "memory",
        config,
        env: vec![("VIDETTE_LOG".to_owned(), "trace".to_owned())],
        ..Setup::default()
    })
}

#[tokio::test]
async fn a_parameter_counts_where_it_is_configured_on_every_address() {
    let folder = Folder::new();
    let gateway = talkative(auth(&folder, "query_parameter = \"access_token\""));
    let token = signer().token(&rights(&["door.>"], &[">"]));
    let key = "key-of-the-doors%2F%2B%3D";
    assert!(KEY.starts_with("key-of-the-doors"));
    for path in [
        "/v1/poll?wait=0",
        "/v1/sse?wait=0",
        "/v1/topics?limit=5",
        "/v1/bus?_=1",
    ] {
        let asked = get(&gateway, &format!("{path}&access_token={token}"), "").await;
        assert_eq!(asked.status, 200, "{path}: {asked:?}");
        let twice = format!("{path}&access_token={token}");
        assert_eq!(
            get(&gateway, &twice, &bearer(&token)).await.status,
            200,
            "{path}"
        );
        let contradiction = get(&gateway, &twice, &bearer(KEY)).await;
        assert_eq!(contradiction.status, 400, "{contradiction:?}");
    }
    let post = format!("/v1/topics/door.1?type=opened&access_token={key}");
    let post = client().post(url(&gateway, &post)).body("1");
    assert_eq!(Answer::of(post).await.status, 200);
}

#[tokio::test]
async fn it_is_an_unknown_parameter_where_it_is_not_configured() {
    let folder = Folder::new();
    let gateway = talkative(auth(&folder, ""));
    let token = signer().token(&rights(&[], &["public.>"]));
    let target = format!("/v1/poll?topic=public.1&wait=0&access_token={token}");
    let answer = get(&gateway, &target, "").await;
    assert_eq!(answer.status, 400);
    assert!(!answer.text.contains(&token), "{answer:?}");
}

#[tokio::test]
async fn its_value_is_in_no_log_and_no_answer() {
    let folder = Folder::new();
    let gateway = talkative(auth(&folder, "query_parameter = \"access_token\""));
    let good = signer().token(&rights(&[], &["door.>"]));
    let secret = "hunter2-and-more-of-it";
    for value in [&*good, secret] {
        for target in [
            "/v1/poll?wait=0&nonsense=1",
            "/v1/poll?wait=soon",
            "/v1/sse?topic=a..b",
            "/v1/nothing?x=1",
            "/v1/poll/?x=1",
            "//evil.test/?x=1",
            "/v1/topics?page_token=1",
            "/backend.php?maxvid=x",
            "/metrics?x=1",
            "/?x=1",
        ] {
            for spelling in ["access_token", "access%5ftoken", "%61ccess_token"] {
                let target = format!("{target}&{spelling}={value}");
                for method in ["GET", "HEAD", "POST", "OPTIONS", "DELETE"] {
                    let method = method.parse().expect("a method");
                    let request = client().request(method, url(&gateway, &target));
                    let answer = Answer::of(request).await;
                    let shows = answer.text.contains(value)
                        || format!("{:?}", answer.headers).contains(value);
                    assert!(!shows, "{target}: {answer:?}");
                }
            }
        }
    }
    let log = gateway.log();
    assert!(log.contains("TRACE"), "nothing was traced");
    assert!(!log.contains(secret) && !log.contains(&good), "{log}");
}
