//! Subscribing: a request means what its texts say (contract §3).

use prost::Message as _;

use super::{Checked, oracle};
use crate::cursor::{Epoch, Start};
use crate::limits;
use crate::topic::{Filter, Pattern};
use crate::transport::grpc::{self, proto};
use crate::transport::params::Params;
use crate::transport::request::{HttpSubscribe, SUBSCRIBE_PARAMS};

/// A query string, and on a second line the `Last-Event-ID`.
pub fn query(text: &str) -> Checked {
    let (query, last_event_id) = text
        .split_once('\n')
        .map_or((text, None), |(query, id)| (query, Some(id)));
    let (Ok(mut params), Some(pairs)) = (Params::parse(Some(query), &[]), oracle::pairs(query))
    else {
        hold!(
            Params::parse(Some(query), &[]).is_err() && oracle::pairs(query).is_none(),
            "the query {query:?}"
        );
        return Ok(());
    };
    let all = |name: &str| {
        pairs
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
            .collect::<Vec<_>>()
    };
    let one = |name: &str| all(name).pop().filter(|v| !v.is_empty());
    let Ok(request) = HttpSubscribe::take(&mut params, last_event_id) else {
        return Ok(());
    };
    let known: Vec<&str> = SUBSCRIBE_PARAMS.split(", ").chain(["_"]).collect();
    let is_known = pairs.iter().all(|(name, _)| known.contains(&name.as_str()));
    hold!(
        params.finish("").is_ok() == is_known,
        "unknown parameters in {pairs:?}"
    );
    for name in known.iter().filter(|name| !matches!(**name, "topic" | "_")) {
        hold!(
            all(name).len() <= 1,
            "{name} was taken more than once from {pairs:?}"
        );
    }
    let (after, since, snapshot) = (one("after"), one("since"), one("snapshot"));
    start_fits(
        &request.subscribe.start,
        last_event_id.or(after.as_deref()),
        since.as_deref(),
    )?;
    let given = [
        after.is_some(),
        since.is_some(),
        snapshot.is_some_and(|s| s == "true" || s == "1"),
    ];
    hold!(
        given.iter().filter(|g| **g).count() <= 1,
        "more than one start was taken from {pairs:?}"
    );
    bounds_fit(&request, one("limit"), one("wait"))?;
    filter_fits(&request.subscribe.filter, &all("topic"))
}

/// Are the limit and the wait those of the texts, and within their bounds?
fn bounds_fit(request: &HttpSubscribe, limit: Option<String>, wait: Option<String>) -> Checked {
    let limit = limit
        .map(|text| text.parse::<u64>().map_err(|e| e.to_string()))
        .transpose()?;
    hold!(
        request.subscribe.limit.map(u64::from) == limit,
        "the limit is another"
    );
    hold!(
        limit.is_none_or(|l| (1..=u64::from(limits::MAX_LIMIT)).contains(&l)),
        "limit {limit:?} was taken"
    );
    hold!(
        request.wait.is_none_or(|wait| wait.as_secs_f64() <= 120.0),
        "wait {:?} was taken",
        request.wait
    );
    hold!(
        request.wait.is_some() == wait.is_some(),
        "the wait is another"
    );
    Ok(())
}

/// Is this the start that the texts mean (contract §3)?
fn start_fits(start: &Start, after: Option<&str>, since: Option<&str>) -> Checked {
    let fits = match (after, start) {
        (Some("latest"), start) => *start == Start::Latest,
        (Some("earliest"), start) => *start == Start::Earliest,
        (Some(text), Start::Earliest) => oracle::cursor(text) == Some((0, None)),
        (Some(text), Start::After(cursor)) => {
            oracle::cursor(text) == Some((cursor.vid, cursor.epoch.as_ref().map(Epoch::as_str)))
        }
        (None, Start::Since(_) | Start::SinceAgo(_)) => since.is_some(),
        (None, Start::Latest | Start::Snapshot) => since.is_none(),
        _ => false,
    };
    hold!(
        fits,
        "after={after:?} since={since:?} was read as {start:?}"
    );
    Ok(())
}

fn filter_fits(filter: &Filter, topics: &[String]) -> Checked {
    let patterns: Vec<&str> = filter.patterns().iter().map(Pattern::as_str).collect();
    let expected: Vec<&str> = if topics.is_empty() {
        vec![">"]
    } else {
        topics.iter().map(String::as_str).collect()
    };
    hold!(
        patterns.len() <= 100 && patterns.iter().all(|p| oracle::pattern(p)),
        "{patterns:?} was taken"
    );
    let is_same = expected.iter().all(|t| patterns.contains(t))
        && patterns.iter().all(|p| expected.contains(p));
    hold!(is_same, "{expected:?} was read as {patterns:?}");
    Ok(())
}

/// A `SubscribeRequest`: what is taken means what contract §3 says.
pub fn grpc_subscribe(message: &[u8]) -> Checked {
    let Ok(request) = proto::SubscribeRequest::decode(message) else {
        return Ok(());
    };
    let Ok(taken) = grpc::subscribe_request(&request) else {
        return Ok(());
    };
    let given = |text: &'static str, value: &str| (!value.is_empty()).then_some(text);
    let starts = [
        given("after", &request.after),
        given("since", &request.since),
        request.snapshot.then_some("snapshot"),
    ];
    hold!(
        starts.iter().flatten().count() <= 1,
        "{starts:?} were taken together"
    );
    let text = |value: &'_ String| (!value.is_empty()).then(|| value.clone());
    start_fits(
        &taken.start,
        text(&request.after).as_deref(),
        text(&request.since).as_deref(),
    )?;
    hold!(
        request.snapshot == (taken.start == Start::Snapshot),
        "{request:?} was read as {:?}",
        taken.start
    );
    hold!(
        (0..=2).contains(&request.on_gap),
        "on_gap = {} was taken",
        request.on_gap
    );
    hold!(
        taken.limit.unwrap_or(0) == request.limit && request.limit <= limits::MAX_LIMIT,
        "{request:?}: {taken:?}"
    );
    filter_fits(&taken.filter, &request.topic)
}
