//! `vidette bench fanout --churn`: readers that hang up within an event and come back, and what a
//! server does wrong then.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::bench::bench;

const CHURN: [&str; 9] = [
    "fanout", "-n", "20", "-r", "200", "-d", "2", "--churn", "40",
];

#[tokio::test]
async fn readers_who_come_and_go_get_everything_once() {
    for engine in ["memory", "sqlite"] {
        let (report, output) = bench(&[&CHURN[..], &["--engine", engine, "--json"]].concat()).await;
        assert!(output.status.success(), "{output:?}");
        let delivery = &report["delivery"];
        assert!(delivery["reconnects"].as_u64() > Some(20), "{report}");
        assert_eq!(delivery["delivered"], delivery["expected"], "{report}");
        assert_eq!(
            delivery["delivered"],
            report["publish"]["accepted"].as_u64().expect("a count") * 20,
            "{report}"
        );
    }
}

/// Where a server goes on for a reader who comes back, from where it should.
#[derive(Clone, Copy)]
enum Wrong {
    /// One event later.
    Loses,
    /// One event earlier.
    Repeats,
}

#[derive(Clone)]
struct Faulty {
    wrong: Wrong,
    events: watch::Sender<Vec<String>>,
}

async fn faulty(wrong: Wrong) -> String {
    let router = Router::new()
        .route("/sub", get(subscribe))
        .route("/pub", post(publish));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let state = Faulty {
        wrong,
        events: watch::Sender::new(Vec::new()),
    };
    tokio::spawn(async { axum::serve(listener, router.with_state(state)).await });
    url
}

async fn subscribe(
    State(faulty): State<Faulty>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let seen = headers.get("last-event-id").map(|id| {
        id.to_str()
            .expect("text")
            .parse::<usize>()
            .expect("a number")
    });
    let next = match (seen, faulty.wrong) {
        (None, _) => 0,
        (Some(seen), Wrong::Loses) => seen + 1,
        (Some(seen), Wrong::Repeats) => seen - 1,
    };
    let events = futures_util::stream::unfold(
        (next, faulty.events.subscribe()),
        async |(next, mut events)| {
            let data = events.wait_for(|events| events.len() > next).await.ok()?[next].clone();
            Some((
                Ok(Event::default().id((next + 1).to_string()).data(data)),
                (next + 1, events),
            ))
        },
    );
    Sse::new(events.boxed())
}

async fn publish(State(faulty): State<Faulty>, data: String) {
    faulty.events.send_modify(|events| events.push(data));
}

#[tokio::test]
async fn a_server_that_loses_or_repeats_an_event_for_who_comes_back_is_found_out() {
    for (wrong, found) in [(Wrong::Loses, "missing"), (Wrong::Repeats, "repeated")] {
        let url = faulty(wrong).await;
        let (read, written) = (format!("{url}/sub"), format!("{url}/pub"));
        let target = [
            "--url",
            &read,
            "--publish-url",
            &written,
            "--drain",
            "0.3",
            "--json",
        ];
        let (report, output) = bench(&[&CHURN[..], &target].concat()).await;
        assert_eq!(output.code(), 1, "{output:?}");
        let delivery = &report["delivery"];
        assert!(delivery[found].as_u64() > Some(0), "{found}: {report}");
        for other in ["missing", "repeated", "out_of_order"]
            .into_iter()
            .filter(|other| *other != found)
        {
            assert_eq!(delivery[other], 0, "{other}: {report}");
        }
    }
}
