//! Clients that ask for old events and hang up while the log is read for them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use vidette::proto::NewEvent;

use crate::common::gateway::PATIENCE;
use crate::common::leave::ask_and_leave;
use crate::common::read::{SubscribeParams, Transport, read_all};
use crate::ground::Ground;
use crate::h1;

/// Old events, of which only the newest 16 MiB are in memory.
const EVENTS: usize = 3000;
/// Data of one of them.
const EVENT_BYTES: usize = 16_000;
/// Cursors of which no event is in memory.
const COLD: std::ops::Range<usize> = 1..1800;
/// Clients that hang up, at once.
const LEAVERS: usize = 6;

/// What happened, and how often.
type Tally = RefCell<BTreeMap<String, usize>>;

pub async fn leaving_cold_readers(ground: &mut Ground) {
    let old = |_| NewEvent {
        topic: "old".into(),
        data: vec![b'7'; EVENT_BYTES].into(),
        ..NewEvent::default()
    };
    ground.fill((0..EVENTS).map(old)).await;
    ground.begin();
    let address = ground.target();
    let until = Instant::now() + ground.seconds(3, 20);
    let tally = Tally::default();
    let leavers = join_all((0..LEAVERS).map(|_| async {
        while Instant::now() < until {
            let way = ask_and_leave(address, &cold_vid().to_string(), "").await;
            *tally.borrow_mut().entry(way.to_owned()).or_default() += 1;
        }
    }));
    let honest = async {
        while Instant::now() < until {
            let path = format!("/v1/poll?topic=old&after={}&limit=50", cold_vid());
            let answer = h1::ask(address, &h1::get(address, &path), PATIENCE).await;
            *tally
                .borrow_mut()
                .entry(format!("honest {}", answer.label()))
                .or_default() += 1;
        }
    };
    tokio::join!(leavers, honest);
    for (what, count) in tally.into_inner() {
        ground.got_many(what, count);
    }
    ground.check_got_only(&["left", "honest 200"]);
    read_the_whole_log(ground).await;
}

/// Nothing is missing from the log for a reader that stays.
async fn read_the_whole_log(ground: &mut Ground) {
    let ask = SubscribeParams::earliest().topic("old");
    let reading = timeout(PATIENCE, read_all(Transport::Poll, &ground.gateway, &ask)).await;
    let read = reading.map_or(0, |events| events.len());
    ground.check(
        read == EVENTS,
        format!("an honest reader got {read} of {EVENTS} old events"),
    );
}

fn cold_vid() -> usize {
    fastrand::usize(COLD)
}
