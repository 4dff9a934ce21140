//! Subscribing: a request means what its texts say (contract §3).

use prost::Message as _;

use super::{Checked, oracle};
use crate::bus::SubscribeRequest;
use crate::cursor::{Epoch, Start};
use crate::limits;
use crate::topic::{Filter, Pattern};
use crate::transport::grpc::{self, proto};
use crate::transport::params::Params;
use crate::transport::request::{HttpSubscribe, SUBSCRIBE_PARAMS};

/// A query string, and on a second line the `Last-Event-ID`.
pub fn query(text: &str) -> Checked {
    let (query, last_event_id) = match text.split_once('\n') {
        Some((query, id)) => (query, Some(id)),
        None => (text, None),
    };
    // Both readers take the query, or neither does.
    match (Params::parse(Some(query), &[]), oracle::pairs(query)) {
        (Ok(params), Some(pairs)) => params_are_meant(params, &Pairs(pairs), last_event_id),
        (Err(_), None) => Ok(()),
        _ => Err(format!("the query {query:?}")),
    }
}

/// The names and values of a query, as the oracle reads them.
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn all(&self, name: &str) -> Vec<String> {
        let named = self.0.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// The last value; an empty one counts as none.
    fn one(&self, name: &str) -> Option<String> {
        self.all(name).pop().filter(|value| !value.is_empty())
    }
}

fn params_are_meant(mut params: Params<'_>, pairs: &Pairs, last_event_id: Option<&str>) -> Checked {
    let Ok(request) = HttpSubscribe::take(&mut params, last_event_id) else {
        return Ok(());
    };
    names_are_known(params, pairs)?;
    start_is_meant(&request.subscribe.start, pairs, last_event_id)?;
    limit_fits(&request.subscribe, pairs.one("limit"))?;
    wait_fits(&request, pairs.one("wait"))?;
    filter_fits(&request.subscribe.filter, &pairs.all("topic"))
}

/// What is left is refused exactly when a name is unknown, and no name was taken twice.
fn names_are_known(rest: Params<'_>, pairs: &Pairs) -> Checked {
    let known: Vec<&str> = SUBSCRIBE_PARAMS.split(", ").chain(["_"]).collect();
    let are_known = pairs.0.iter().all(|(name, _)| known.contains(&&**name));
    let are_taken = rest.finish("").is_ok();
    hold!(are_taken == are_known, "taken: {are_taken}, {:?}", pairs.0);
    let mut single = known.iter().filter(|name| !is_repeatable(name));
    single.try_for_each(|name| is_single(pairs, name))
}

fn is_repeatable(name: &str) -> bool {
    matches!(name, "topic" | "_")
}

fn is_single(pairs: &Pairs, name: &str) -> Checked {
    let times = pairs.all(name).len();
    hold!(times <= 1, "{name} was taken {times} times");
    Ok(())
}

fn start_is_meant(start: &Start, pairs: &Pairs, last_event_id: Option<&str>) -> Checked {
    let (after, since) = (pairs.one("after"), pairs.one("since"));
    start_fits(start, last_event_id.or(after.as_deref()), since.as_deref())?;
    // Only a snapshot that is asked for is a start.
    let snapshot = pairs.one("snapshot").unwrap_or_default();
    let is_snapshot = matches!(&*snapshot, "true" | "1");
    is_one_start([after.is_some(), since.is_some(), is_snapshot])
}

fn is_one_start(given: [bool; 3]) -> Checked {
    let starts = given.iter().filter(|given| **given).count();
    hold!(starts <= 1, "{starts} starts were taken");
    Ok(())
}

/// Is the limit that of the text, and within its bounds?
fn limit_fits(request: &SubscribeRequest, text: Option<String>) -> Checked {
    let limit = text.map(|text| text.parse()).transpose();
    let limit = limit.map_err(|_| "a limit that is no number was taken")?;
    let taken = request.limit;
    hold!(taken == limit, "limit {limit:?} was taken as {taken:?}");
    let is_within = limit.is_none_or(|limit| (1..=limits::MAX_LIMIT).contains(&limit));
    hold!(is_within, "limit {limit:?} was taken");
    Ok(())
}

/// Is there a wait exactly when one is asked for, and is it within its bounds?
fn wait_fits(request: &HttpSubscribe, text: Option<String>) -> Checked {
    let wait = request.wait;
    let is_within = wait.is_none_or(|wait| wait.as_secs_f64() <= 120.0);
    hold!(is_within, "wait {wait:?} was taken");
    let is_same = wait.is_some() == text.is_some();
    hold!(is_same, "wait {text:?} was taken as {wait:?}");
    Ok(())
}

/// Is this the start that the texts mean (contract §3)?
fn start_fits(start: &Start, after: Option<&str>, since: Option<&str>) -> Checked {
    let fits = match after {
        Some(after) => is_start_after(start, after),
        None => is_other_start(start, since),
    };
    let start = format!("{start:?}");
    hold!(fits, "after={after:?} since={since:?} was read as {start}");
    Ok(())
}

fn is_start_after(start: &Start, after: &str) -> bool {
    match (after, start) {
        ("latest", start) => *start == Start::Latest,
        ("earliest", start) => *start == Start::Earliest,
        // No vid is below 1, so a plain 0 asks for everything that is retained.
        (text, Start::Earliest) => oracle::cursor(text) == Some((0, None)),
        (text, Start::After(cursor)) => {
            let epoch = cursor.epoch.as_ref().map(Epoch::as_str);
            oracle::cursor(text) == Some((cursor.vid, epoch))
        }
        _ => false,
    }
}

fn is_other_start(start: &Start, since: Option<&str>) -> bool {
    match start {
        Start::Since(_) | Start::SinceAgo(_) => since.is_some(),
        Start::Latest | Start::Snapshot => since.is_none(),
        Start::Earliest | Start::After(_) => false,
    }
}

/// Are the filter's patterns those that were asked for, each once?
fn filter_fits(filter: &Filter, topics: &[String]) -> Checked {
    let patterns: Vec<&str> = filter.patterns().iter().map(Pattern::as_str).collect();
    let are_patterns = patterns.iter().all(|pattern| oracle::pattern(pattern));
    let is_filter = patterns.len() <= 100 && are_patterns;
    hold!(is_filter, "{patterns:?} was taken");

    // Compared as sets: a filter is sorted, and has a repeated topic once.
    let asked = expected_patterns(topics);
    let is_same = holds_all(&patterns, &asked) && holds_all(&asked, &patterns);
    hold!(is_same, "{asked:?} was read as {patterns:?}");
    Ok(())
}

fn holds_all(patterns: &[&str], others: &[&str]) -> bool {
    others.iter().all(|other| patterns.contains(other))
}

fn expected_patterns(topics: &[String]) -> Vec<&str> {
    match topics {
        // Without a topic, everything but the gateway's own topics is asked for.
        [] => vec![">"],
        topics => topics.iter().map(String::as_str).collect(),
    }
}

/// A `SubscribeRequest`: what is taken means what contract §3 says.
pub fn grpc_subscribe(message: &[u8]) -> Checked {
    let Ok(request) = proto::SubscribeRequest::decode(message) else {
        return Ok(());
    };
    let Ok(taken) = grpc::subscribe_request(&request) else {
        return Ok(());
    };
    message_start_fits(&request, &taken.start)?;

    // An enum of proto3 may hold any number, so the gateway itself has to refuse.
    let is_known = (0..=2).contains(&request.on_gap);
    hold!(is_known, "on_gap = {} was taken", request.on_gap);
    message_limit_fits(request.limit, taken.limit)?;
    filter_fits(&taken.filter, &request.topic)
}

fn message_limit_fits(limit: u32, taken: Option<u32>) -> Checked {
    // A number that is left out reads as 0 in proto3.
    let is_right = taken.unwrap_or(0) == limit && limit <= limits::MAX_LIMIT;
    hold!(is_right, "limit {limit} was taken as {taken:?}");
    Ok(())
}

fn message_start_fits(request: &proto::SubscribeRequest, start: &Start) -> Checked {
    // In protobuf an empty text stands for none.
    let (after, since) = (not_empty(&request.after), not_empty(&request.since));
    start_fits(start, after, since)?;
    let is_snapshot = *start == Start::Snapshot;
    hold!(request.snapshot == is_snapshot, "{request:?}: {start:?}");
    is_one_start([after.is_some(), since.is_some(), is_snapshot])
}

fn not_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
