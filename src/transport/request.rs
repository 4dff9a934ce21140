//! From parameters to what a subscriber asked for, the same for every transport (contract §3, §5).

use std::time::Duration;

use jiff::Timestamp;

use super::params::{Params, bad_value};
use crate::bus::{OnGap, SubscribeRequest};
use crate::cursor::{Cursor, Start};
use crate::error::{Error, Result};
use crate::limits;
use crate::topic::Filter;

/// The parameters that all subscriptions over HTTP share.
pub(crate) const SUBSCRIBE_PARAMS: &str = "topic, after, since, snapshot, on_gap, limit, wait";

/// Those of a long-poll.
pub(super) const POLL_PARAMS: &str = "topic, after, since, snapshot, on_gap, limit, wait, format";

/// Where a request says to start, in the texts of the wire; empty counts as not given.
#[derive(Debug, Default)]
pub(super) struct StartTexts<'a> {
    pub(super) after: Option<&'a str>,
    pub(super) since: Option<&'a str>,
    pub(super) snapshot: bool,
}

impl StartTexts<'_> {
    /// The start they mean.
    ///
    /// # Errors
    /// A bad request when one cannot be read or more than one is given.
    pub(super) fn parse(&self) -> Result<Start> {
        match (self.after, self.since, self.snapshot) {
            (None, None, false) => Ok(Start::Latest),
            (Some(after), None, false) => parse_after(after),
            (None, Some(since), false) => parse_since(since),
            (None, None, true) => Ok(Start::Snapshot),
            _ => Err(Error::bad_request(SEVERAL_STARTS)),
        }
    }
}

const SEVERAL_STARTS: &str = "more than one of after, since and snapshot; choose one";

/// `after=`: a cursor, `earliest` or `latest`.
pub(super) fn parse_after(text: &str) -> Result<Start> {
    match text {
        "latest" => Ok(Start::Latest),
        "earliest" => Ok(Start::Earliest),
        cursor => Ok(start_after(cursor.parse()?)),
    }
}

/// A bare 0 asks for all that is retained; with an epoch it is a cursor like any other.
fn start_after(cursor: Cursor) -> Start {
    if cursor.vid == 0 && cursor.epoch.is_none() {
        Start::Earliest
    } else {
        Start::After(cursor)
    }
}

fn parse_since(text: &str) -> Result<Start> {
    // A time names its zone, so it is never taken for a duration.
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Start::Since(ceiling_ms(time)));
    }
    let ago = humantime::parse_duration(text);
    let ago = ago.map_err(|_| bad_value("since", text, NO_TIME))?;
    // A duration longer than time itself means all that is retained.
    let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(Start::SinceAgo(ago_ms))
}

const NO_TIME: &str = "neither an RFC 3339 time, as 2026-11-22T10:00:00Z, nor a duration, as 15m";

/// Events carry milliseconds: the first of them that is not before this time.
fn ceiling_ms(time: Timestamp) -> i64 {
    let ms = time.as_millisecond();
    let floor = Timestamp::from_millisecond(ms);
    ms + i64::from(floor.is_ok_and(|floor| floor < time))
}

/// What a subscriber asked for over HTTP.
pub(crate) struct HttpSubscribe {
    pub(crate) subscribe: SubscribeRequest,
    /// How long to wait for an event at the live end.
    pub(crate) wait: Option<Duration>,
}

impl HttpSubscribe {
    /// Takes the shared parameters. `last_event_id` is where an `EventSource` resumes; it wins over
    /// `after`.
    pub(crate) fn take(params: &mut Params<'_>, last_event_id: Option<&str>) -> Result<Self> {
        let topics = params.take_all("topic");
        // The parameters have to be right even where the cursor of a reconnect replaces them.
        let asked = take_start(params)?;
        let start = match last_event_id {
            Some(id) => parse_after(id).map_err(|error| error.at("Last-Event-ID"))?,
            None => asked,
        };
        Ok(HttpSubscribe {
            subscribe: SubscribeRequest {
                filter: Filter::parse(topics.iter().map(|topic| &**topic))?,
                start,
                on_gap: take_on_gap(params)?,
                limit: take_limit(params)?,
            },
            wait: take_wait(params)?,
        })
    }
}

fn take_start(params: &mut Params<'_>) -> Result<Start> {
    let (after, since) = (params.take("after")?, params.take("since")?);
    // None of them is only a missing start; two of them contradict each other.
    let texts = StartTexts {
        after: after.as_deref(),
        since: since.as_deref(),
        snapshot: take_bool(params, "snapshot")?,
    };
    texts.parse()
}

fn take_bool(params: &mut Params<'_>, name: &str) -> Result<bool> {
    let expected = || "neither true nor false";
    let value = params.take_parsed(name, parse_bool, expected)?;
    Ok(value.unwrap_or(false))
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn take_on_gap(params: &mut Params<'_>) -> Result<OnGap> {
    let expected = || "neither continue nor fail";
    let on_gap = params.take_parsed("on_gap", parse_on_gap, expected)?;
    Ok(on_gap.unwrap_or(OnGap::Continue))
}

fn parse_on_gap(text: &str) -> Option<OnGap> {
    match text {
        "continue" => Some(OnGap::Continue),
        "fail" => Some(OnGap::Fail),
        _ => None,
    }
}

fn take_limit(params: &mut Params<'_>) -> Result<Option<u32>> {
    let expected = || format!("not a number from 1 to {}", limits::MAX_LIMIT);
    params.take_parsed("limit", parse_limit, expected)
}

fn parse_limit(text: &str) -> Option<u32> {
    let limit = text.parse().ok()?;
    (1..=limits::MAX_LIMIT).contains(&limit).then_some(limit)
}

fn take_wait(params: &mut Params<'_>) -> Result<Option<Duration>> {
    let most_s = limits::MAX_WAIT.as_secs();
    let expected = || format!("not a number of seconds from 0 to {most_s}");
    params.take_parsed("wait", parse_wait, expected)
}

/// A number of seconds, or a duration with its unit.
fn parse_wait(text: &str) -> Option<Duration> {
    // A number cannot be a duration, which needs a unit.
    let wait = match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => humantime::parse_duration(text).ok()?,
    };
    (wait <= limits::MAX_WAIT).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscribe(query: &str) -> Result<HttpSubscribe> {
        let mut params = Params::parse(Some(query), &[])?;
        let subscribe = HttpSubscribe::take(&mut params, None)?;
        params.finish(SUBSCRIBE_PARAMS)?;
        Ok(subscribe)
    }

    fn start(query: &str) -> Start {
        subscribe(query)
            .unwrap_or_else(|e| panic!("{query}: {e}"))
            .subscribe
            .start
    }

    #[test]
    fn each_start_has_its_text() {
        assert_eq!(start(""), Start::Latest);
        assert_eq!(start("after="), Start::Latest);
        assert_eq!(start("after=latest"), Start::Latest);
        assert_eq!(start("after=earliest"), Start::Earliest);
        assert_eq!(start("after=0"), Start::Earliest);
        assert!(matches!(start("after=0-abcdef"), Start::After(_)));
        assert!(matches!(
            start("after=12"),
            Start::After(Cursor {
                vid: 12,
                epoch: None
            })
        ));
        assert_eq!(start("since=1970-01-01T00:00:01.5Z"), Start::Since(1500));
        assert_eq!(
            start("since=1970-01-01T00:00:01.0000001Z"),
            Start::Since(1001)
        );
        assert_eq!(start("snapshot=true"), Start::Snapshot);
    }

    #[test]
    fn the_last_event_id_wins_over_after() {
        let mut params = Params::parse(Some("after=5"), &[]).expect("a query");
        let request = HttpSubscribe::take(&mut params, Some("9")).expect("a request");
        assert_eq!(
            request.subscribe.start,
            Start::After(Cursor {
                vid: 9,
                epoch: None
            })
        );
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for query in [
            "after=x",
            "after=-1",
            "after=1&after=2",
            "after=1&since=1m",
            "since=soon",
            "since=1m&snapshot=true",
            "snapshot=maybe",
            "on_gap=ignore",
            "limit=0",
            "limit=-1",
            "limit=many",
            "limit=1000001",
            "wait=-1",
            "wait=121",
            "wait=NaN",
            "wait=soon",
            "topic=a..b",
            "topic=",
            "nonsense=1",
            "topic=%ff",
            "%ff=1",
            "after=9007199254740992",
        ] {
            assert!(subscribe(query).is_err(), "{query} was understood");
        }
    }

    #[test]
    fn a_wait_is_seconds_or_a_duration() {
        for (text, ms) in [
            ("0", 0),
            ("0.5", 500),
            ("30", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
        ] {
            assert_eq!(
                subscribe(&format!("wait={text}")).expect(text).wait,
                Some(Duration::from_millis(ms))
            );
        }
    }
}
