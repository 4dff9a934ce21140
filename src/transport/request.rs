//! From a query string to a request, the same for every HTTP transport (contract §3, §5).
//!
//! Invariant: each parameter is taken by name once; what nobody took is a bad request, not a silent
//! nothing.

use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use crate::bus::{OnGap, SubscribeRequest};
use crate::cursor::{Cursor, Start, shorten};
use crate::error::{Error, Result};
use crate::limits;
use crate::topic::Filter;

/// The parameters of a query string, until they are taken.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters but those that are ignored, whose values may be anything.
    pub(crate) fn parse(query: Option<&str>, ignored: &[String]) -> Result<Self> {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let mut params = Vec::new();
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(&name.replace('+', " "))?;
            if !ignored.contains(&name) {
                params.push((name, decode(&value.replace('+', " "))?));
            }
        }
        Ok(Params(params))
    }

    /// Every value of a repeatable parameter.
    pub(crate) fn take_all(&mut self, name: &str) -> Vec<String> {
        self.0
            .extract_if(.., |(n, _)| n == name)
            .map(|(_, value)| value)
            .collect()
    }

    /// The value of a parameter that may be given once; an empty one counts as none.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>> {
        let mut values = self.take_all(name);
        if values.len() > 1 {
            return Err(Error::bad_request(format!(
                "the parameter {name} is given {} times; give it once",
                values.len()
            )));
        }
        Ok(values.pop().filter(|value| !value.is_empty()))
    }

    /// The value that several names stand for; they may be given together if they agree.
    pub(super) fn take_any(&mut self, names: &[&'static str]) -> Result<Option<String>> {
        let mut found: Option<(&str, String)> = None;
        for name in names {
            match (&found, self.take(name)?) {
                (Some((first, value)), Some(other)) if *value != other => {
                    return Err(Error::bad_request(format!(
                        "{first}={:?} and {name}={:?} differ; give one of them",
                        shorten(value),
                        shorten(&other)
                    )));
                }
                (None, Some(value)) => found = Some((name, value)),
                _ => {}
            }
        }
        Ok(found.map(|(_, value)| value))
    }

    /// Refuses what was not taken. `_` is let pass: old pages add it to get around caches.
    pub(crate) fn finish(self, known: &str) -> Result<()> {
        match self.0.into_iter().find(|(name, _)| name != "_") {
            Some((name, _)) => Err(Error::bad_request(format!(
                "unknown parameter {:?}; there are {known}. Those of proxies can be named in requests.ignore_parameters",
                shorten(&name)
            ))),
            None => Ok(()),
        }
    }
}

/// Percent-decodes a part of an address.
pub(super) fn decode(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| Error::bad_request("the address is not UTF-8 after percent-decoding"))
}

/// The parameters that all subscriptions share.
pub(crate) const SUBSCRIBE_PARAMS: &str = "topic, after, since, snapshot, on_gap, limit, wait";

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
        let given = [self.after.is_some(), self.since.is_some(), self.snapshot];
        if given.iter().filter(|g| **g).count() > 1 {
            return Err(Error::bad_request(
                "more than one of after, since and snapshot; choose one",
            ));
        }
        match (self.after, self.since) {
            (Some(after), _) => parse_after(after),
            (_, Some(since)) => parse_since(since),
            _ if self.snapshot => Ok(Start::Snapshot),
            _ => Ok(Start::Latest),
        }
    }
}

/// `after=`: a cursor, `earliest` or `latest`.
pub(super) fn parse_after(text: &str) -> Result<Start> {
    match text {
        "latest" => Ok(Start::Latest),
        "earliest" => Ok(Start::Earliest),
        _ => match text.parse::<Cursor>()? {
            // A bare 0 asks for all that there is; with an epoch it is a cursor like any other.
            Cursor {
                vid: 0,
                epoch: None,
            } => Ok(Start::Earliest),
            cursor => Ok(Start::After(cursor)),
        },
    }
}

fn parse_since(text: &str) -> Result<Start> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Start::Since(ceiling_ms(time)));
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        let short = shorten(text);
        Error::bad_request(format!(
            "since={short:?} is neither an RFC 3339 time, as 2026-11-22T10:00:00Z, nor a duration, as 15m"
        ))
    })?;
    let ago_ms = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
    Ok(Start::SinceAgo(ago_ms))
}

/// Events carry milliseconds: the first of them that is not before this time.
fn ceiling_ms(time: Timestamp) -> i64 {
    let ms = time.as_millisecond();
    if Timestamp::from_millisecond(ms).is_ok_and(|floor| floor < time) {
        ms + 1
    } else {
        ms
    }
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
    pub(crate) fn take(params: &mut Params, last_event_id: Option<&str>) -> Result<Self> {
        let topics = params.take_all("topic");
        let (after, since) = (params.take("after")?, params.take("since")?);
        let snapshot = take_bool(params, "snapshot")?;
        let texts = StartTexts {
            after: after.as_deref(),
            since: since.as_deref(),
            snapshot,
        };
        let asked = texts.parse()?;
        let start = last_event_id
            .map(|id| parse_after(id).map_err(|e| e.at("Last-Event-ID")))
            .transpose()?;
        Ok(HttpSubscribe {
            subscribe: SubscribeRequest {
                filter: Filter::parse(topics.iter().map(String::as_str))?,
                start: start.unwrap_or(asked),
                on_gap: take_on_gap(params)?,
                limit: take_limit(params)?,
            },
            wait: take_wait(params)?,
        })
    }
}

fn take_bool(params: &mut Params, name: &str) -> Result<bool> {
    match params.take(name)?.as_deref() {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(Error::bad_request(format!(
            "{name}={:?} is neither true nor false",
            shorten(other)
        ))),
    }
}

fn take_on_gap(params: &mut Params) -> Result<OnGap> {
    match params.take("on_gap")?.as_deref() {
        None | Some("continue") => Ok(OnGap::Continue),
        Some("fail") => Ok(OnGap::Fail),
        Some(other) => Err(Error::bad_request(format!(
            "on_gap={:?} is neither continue nor fail",
            shorten(other)
        ))),
    }
}

fn take_limit(params: &mut Params) -> Result<Option<u32>> {
    let Some(text) = params.take("limit")? else {
        return Ok(None);
    };
    match text.parse::<u32>() {
        Ok(limit) if (1..=limits::MAX_LIMIT).contains(&limit) => Ok(Some(limit)),
        _ => Err(Error::bad_request(format!(
            "limit={:?} is not a number from 1 to {}",
            shorten(&text),
            limits::MAX_LIMIT
        ))),
    }
}

fn take_wait(params: &mut Params) -> Result<Option<Duration>> {
    let Some(text) = params.take("wait")? else {
        return Ok(None);
    };
    let seconds = text
        .parse::<f64>()
        .ok()
        .and_then(|s| Duration::try_from_secs_f64(s).ok());
    match seconds.or_else(|| humantime::parse_duration(&text).ok()) {
        Some(wait) if wait <= limits::MAX_WAIT => Ok(Some(wait)),
        _ => {
            let most = limits::MAX_WAIT.as_secs();
            Err(Error::bad_request(format!(
                "wait={:?} is not a number of seconds from 0 to {most}",
                shorten(&text)
            )))
        }
    }
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
    fn ignored_parameters_are_as_good_as_not_there() {
        let ignored = ["token".to_owned(), "a b".to_owned()];
        let query = "token=%ff&token=2&limit=3&a+b=1";
        let mut params = Params::parse(Some(query), &ignored).expect("a query");
        assert_eq!(params.take("limit").expect("one"), Some("3".to_owned()));
        assert!(params.finish("limit").is_ok());
        assert!(Params::parse(Some("other=%ff"), &ignored).is_err());
    }

    #[test]
    fn several_names_of_one_thing_have_to_agree() {
        let any = |query| {
            let mut params = Params::parse(Some(query), &[]).expect("a query");
            params
                .take_any(&["a", "b", "c"])
                .map_err(|error| error.kind())
        };
        assert_eq!(any(""), Ok(None));
        assert_eq!(any("a=&b="), Ok(None));
        assert_eq!(any("b=7"), Ok(Some("7".to_owned())));
        assert_eq!(any("a=7&b=&c=7"), Ok(Some("7".to_owned())));
        for wrong in ["a=7&c=8", "b=7&b=7", "a=7&b=7&c=8"] {
            assert!(any(wrong).is_err(), "{wrong}");
        }
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
