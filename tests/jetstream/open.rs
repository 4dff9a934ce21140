//! Opening a stream, and creating it.

use vidette::engine::{Engine as _, JetStreamEngine};

use crate::common::nats::{NatsCluster, requirements};

#[tokio::test]
async fn a_stream_is_created_where_it_is_asked_for_and_found_again() {
    let nats = NatsCluster::start(1).await;
    let mut options = nats.options("doors");
    let first = JetStreamEngine::open(options.clone(), requirements()).await;
    let first = first.expect("an engine");
    options.create = false;
    let second = JetStreamEngine::open(options, requirements()).await;
    let second = second.expect("an engine");
    assert_eq!(first.state().lineage, second.state().lineage);
    let bounds = second.state().bounds;
    assert_eq!((bounds.first, bounds.last), (1, 0));
}
