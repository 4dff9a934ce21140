//! Subscriptions open at once.

use crate::clients::{
    Busy, Call, Pair, Who, addresses, curl, exhausted, exhausted_line, gateway, grpcio, grpcurl,
    pairs, refused, status,
};
use crate::common::gateway::Gateway;

/// The ways to subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Poll,
    Sse,
    SseOverHttp2,
    Legacy,
    Grpcurl,
    Grpcio,
}

const READERS: [Reader; 6] = [
    Reader::Poll,
    Reader::Sse,
    Reader::SseOverHttp2,
    Reader::Legacy,
    Reader::Grpcurl,
    Reader::Grpcio,
];

impl Reader {
    /// Waits on an empty log.
    fn call(self, gateway: &Gateway, who: &Who) -> Call {
        match self {
            Reader::Poll => curl(gateway, who, "/v1/poll?wait=60"),
            Reader::Sse => curl(gateway, who, "/v1/sse"),
            Reader::SseOverHttp2 => {
                curl(gateway, who, "/v1/sse").with(&["--http2-prior-knowledge"])
            }
            Reader::Legacy => curl(gateway, who, "/backend.php?maxvid=0"),
            Reader::Grpcurl => grpcurl(gateway, &who.flags(), "Subscribe", "{}"),
            Reader::Grpcio => grpcio(gateway, who, &["subscribe"]),
        }
    }

    /// It has ended at once, because there are too many.
    async fn is_refused(self, gateway: &Gateway, who: &Who) -> Busy {
        let output = self.call(gateway, who).run().await;
        match self {
            Reader::Poll | Reader::Legacy => refused(&output, 429),
            // An EventSource would never come back after another status.
            Reader::Sse | Reader::SseOverHttp2 => {
                assert!(
                    output.stdout.contains("event: vidette.closing"),
                    "{output:?}"
                );
                assert!(output.stdout.contains(r#""reason":"busy""#), "{output:?}");
                Busy {
                    is_passing: output.stdout.contains("\nretry: "),
                    ..refused(&output, 200)
                }
            }
            Reader::Grpcurl => exhausted(&output),
            Reader::Grpcio => exhausted_line(&output.stdout),
        }
    }
}

async fn until_open(gateway: &Gateway, count: u32) {
    let is_open =
        async || (gateway.metric("vidette_subscribers").await - f64::from(count)).abs() < 0.5;
    gateway.until("so many subscriptions", is_open).await;
}

/// Is a poll that does not wait answered?
async fn is_served(gateway: &Gateway, who: &Who) -> bool {
    let output = curl(gateway, who, "/v1/poll?wait=0").run().await;
    status(&output) == 200
}

fn reason(pair: &Pair) -> String {
    format!(
        "vidette_refused_total{{reason=\"{}_subscriptions\"}}",
        pair.reason
    )
}

#[tokio::test]
async fn who_has_as_many_as_it_may_is_refused_on_each_transport_and_another_is_served() {
    for pair in &pairs() {
        let gateway = pair.gateway("subscriptions = 2");
        let _open = [Reader::Sse, Reader::Grpcio].map(|r| r.call(&gateway, &pair.one).start());
        until_open(&gateway, 2).await;

        for (refusals, reader) in (1..).zip(READERS) {
            let busy = reader.is_refused(&gateway, &pair.one).await;
            assert!(busy.is_passing, "{reader:?}: {busy:?}");
            let setting = format!("{}.subscriptions", pair.section);
            assert!(busy.detail.contains(&setting), "{reader:?}: {busy:?}");
            let counted = gateway.metric(&reason(pair)).await;
            assert!(
                (counted - f64::from(refusals)).abs() < 0.5,
                "{reader:?}: {counted}"
            );
            assert!(is_served(&gateway, &pair.other).await, "{reader:?}");
        }
    }
}

#[tokio::test]
async fn each_transport_counts_and_its_place_is_free_when_the_client_has_left() {
    for pair in &pairs() {
        let gateway = pair.gateway("subscriptions = 1");
        for reader in READERS {
            let open = reader.call(&gateway, &pair.one).start();
            until_open(&gateway, 1).await;
            assert!(!is_served(&gateway, &pair.one).await, "{pair:?} {reader:?}");
            assert!(
                is_served(&gateway, &pair.other).await,
                "{pair:?} {reader:?}"
            );

            drop(open);
            let is_free = async || is_served(&gateway, &pair.one).await;
            gateway.until("its place is free again", is_free).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_waited_for_gives_its_place_back() {
    let gateway = gateway("limits.address", "subscriptions = 1");
    for _ in 0..20 {
        assert!(is_served(&gateway, &addresses().one).await);
    }
}
