//! Clients that cannot set a header, and proxies that add parameters (contract §3).

use super::support::{gateway, get, publish_one};
use crate::common::gateway::Gateway;

const NAMES: [&str; 4] = [
    "lastEventId",
    "lastEventID",
    "Last-Event-ID",
    "evs_last_event_id",
];

/// The vids of a stream that ends at the live end, or the status where it is none.
async fn vids(gateway: &Gateway, header: Option<&str>, query: &str) -> Result<Vec<u64>, u16> {
    let url = format!("{}/v1/sse?wait=0&{query}", gateway.url());
    let request = reqwest::Client::new().get(url);
    let request = match header {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    let response = request.send().await.expect("an answer");
    if response.status() != 200 {
        return Err(response.status().as_u16());
    }
    let text = response.text().await.expect("a stream that ends");
    let vids = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: {\"vid\":"));
    Ok(vids.map(|rest| rest[..1].parse().expect("a vid")).collect())
}

#[tokio::test]
async fn the_parameters_of_polyfills_resume_as_the_header_does() {
    let gateway = gateway("memory", "");
    for number in 1..=5 {
        publish_one(&gateway, "door.1", number).await;
    }
    for name in NAMES {
        let by = |rest: &str| format!("{name}={rest}");
        for (header, query, expected) in [
            (None, by("3"), Ok(vec![4, 5])),
            (None, by("3&after=1"), Ok(vec![4, 5])),
            (None, by("3&snapshot=true"), Ok(vec![4, 5])),
            (None, by("&after=4"), Ok(vec![5])),
            (Some("4"), by("1"), Ok(vec![5])),
            (Some(""), by("4"), Ok(vec![5])),
            (None, by("x"), Err(400)),
            (None, by("3&lastEventId=2"), Err(400)),
            (None, by("3&evs_last_event_id=3&lastEventID=2"), Err(400)),
        ] {
            let seen = vids(&gateway, header, &query).await;
            assert_eq!(seen, expected, "{header:?} {query}");
        }
        get(&gateway, &format!("/v1/poll?wait=0&{name}=3"))
            .await
            .problem(400);
    }
    let agreeing = "lastEventId=3&evs_last_event_id=3&Last-Event-ID=";
    assert_eq!(vids(&gateway, None, agreeing).await, Ok(vec![4, 5]));
}

#[tokio::test]
async fn parameters_of_proxies_are_passed_over_where_they_are_named() {
    let config = "[requests]\nignore_parameters = [\"token\", \"__cb\"]";
    let gateway = gateway("memory", config);
    publish_one(&gateway, "door.1", 1).await;
    for path in [
        "/v1/bus?",
        "/v1/topics?",
        "/v1/poll?wait=0&",
        "/v1/sse?wait=0&",
        "/backend.php?maxvid=0&",
    ] {
        for extra in ["token=secret", "__cb=1&token=%ff&token=2", "_=7&token="] {
            let answer = get(&gateway, &format!("{path}{extra}")).await;
            assert_eq!(answer.status, 200, "{path}{extra}: {}", answer.text);
        }
    }
    for path in ["/v1/events", "/v1/topics/door.1"] {
        let url = format!("{}{path}?token=secret", gateway.url());
        let body = "{\"topic\":\"door.1\",\"data\":2}";
        let posted = reqwest::Client::new().post(url).body(body).send().await;
        assert_eq!(posted.expect("an answer").status(), 200, "{path}");
    }
    let detail = get(&gateway, "/v1/poll?wait=0&Token=1").await.problem(400);
    assert!(detail.contains("requests.ignore_parameters"), "{detail}");
}
