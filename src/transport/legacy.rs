//! `GET /backend.php?maxvid=N`: one event as a flat JSON object, for web pages of the long-poll era
//! (contract §6).
//!
//! Invariant: the answer is one event or nothing, and a request that is given up has moved no
//! cursor.

mod flat_json;

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::access::RequestCaller;
use super::headers::{no_store, set};
use super::json::ObjectForm;
use super::long_poll::{self, OpenPoll, Waiting, wait_of};
use super::params::Params;
use super::peer::PeerWatch;
use super::poll_ask::PollAsk;
use super::request::parse_after;
use super::state::{AppState, TransportConfig};
use crate::bus::{OnGap, SubscribeRequest};
use crate::config::LegacyConfig;
use crate::cursor::{Gap, Start};
use crate::encodings::WireForm;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::memory::{MemoryBudget, MemoryKind};
use crate::metrics::Transport;
use crate::topic::Filter;

pub(crate) use flat_json::flat_json;

/// A JSONP callback's length in bytes.
const MAX_CALLBACK_BYTES: usize = 64;

/// Reports a gap to a web page that looks for it; the flat object has no place for one.
const GAP_HEADER: HeaderName = HeaderName::from_static("vidette-gap");

/// Reports what of its topics a page may read, where that is not all of them.
const FILTER_HEADER: HeaderName = HeaderName::from_static("vidette-filter");
/// A longer list is left out, because proxies refuse answers with long heads.
const MAX_FILTER_HEADER_BYTES: usize = 2 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const SCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");

/// As the router calls it: for a page of another origin, and for HEAD.
pub(super) async fn backend(
    State(state): State<AppState>,
    method: Method,
    peer: PeerWatch,
    caller: RequestCaller,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let ask = PollAsk {
        method: &method,
        query: query.as_deref(),
        caller: &caller,
        peer,
        transport: Transport::Legacy,
        // One event is small.
        coding: None,
    };
    begin(&state, ask).await?.await
}

/// Opens a poll for the next event.
pub(super) async fn begin(state: &AppState, ask: PollAsk<'_>) -> Result<Waiting> {
    // The whole answer stays within the wait, also where a cursor is waited for first.
    let config = &state.config;
    let until = Instant::now() + wait_of(ask.method, config.legacy.wait);
    let (start, callback) = parse(Params::of(state, ask.query)?, &config.legacy)?;
    let request = subscribe_request(&config.legacy, start);
    let poll = OpenPoll {
        reader: ask.open(&state.bus, request).await?,
        until,
        coding: None,
        form: ObjectForm::Own,
    };
    let mut page = PagePoll {
        poll,
        config: config.clone(),
        callback: callback.map(String::into_boxed_str),
    };
    Ok(Box::pin(async move { page.answer().await }))
}

/// What each poll of a page has that waits.
struct PagePoll {
    poll: OpenPoll,
    config: Arc<TransportConfig>,
    callback: Option<Box<str>>,
}

impl PagePoll {
    async fn answer(&mut self) -> Result<Response> {
        let mut polled = self.poll.wait().await?;
        let (gap, cut_to) = (polled.gap.take(), polled.cut_to.take());
        if gap.is_some() && polled.first_event().is_none() {
            // The web page could show nothing of a gap alone, so the wait goes on. Boxed, as few
            // wait here.
            polled = Box::pin(self.poll.wait()).await?;
        }

        let mut answer = self.respond(polled.first_event());
        polled.count(&mut self.poll.reader, answer.body());
        report_gap(answer.headers_mut(), gap.as_ref());
        report_filter(answer.headers_mut(), cut_to.as_ref());
        Ok(answer)
    }

    fn respond(&self, event: Option<&Arc<Event>>) -> Response {
        let (memory, callback) = (
            self.poll.reader.subscription.memory(),
            self.callback.as_deref(),
        );
        match event {
            Some(event) => respond(shared_json(event), callback, memory),
            None => respond_empty(&self.config.legacy, callback.is_some()),
        }
    }
}

/// The start and the callback. Unknown parameters are passed over here: web pages of this era add
/// their own.
fn parse(mut params: Params<'_>, config: &LegacyConfig) -> Result<(Start, Option<String>)> {
    // Without a vid a page asks for what it has missed, as far as that is retained.
    let start = match params.take("maxvid")? {
        Some(text) => parse_maxvid(&text)?,
        None => Start::Earliest,
    };
    // With a callback the answer is a script, which a page of any site may load.
    let callback = params.take("callback")?;
    let callback = callback.map(|name| check_callback(name.into_owned(), config.jsonp));
    Ok((start, callback.transpose()?))
}

fn parse_maxvid(text: &str) -> Result<Start> {
    match parse_after(text).map_err(|error| error.at("maxvid"))? {
        Start::Latest => Err(Error::bad_request(NO_VID)),
        start => Ok(start),
    }
}

fn subscribe_request(config: &LegacyConfig, start: Start) -> SubscribeRequest {
    SubscribeRequest {
        filter: config.filter.clone(),
        start,
        on_gap: OnGap::Continue,
        limit: Some(1),
    }
}

pub(crate) fn check_callback(name: String, is_allowed: bool) -> Result<String> {
    // Whoever may call a function of the page with an event may read it from any site.
    if !is_allowed {
        return Err(Error::new(ErrorKind::Forbidden, NO_JSONP));
    }
    if is_function_name(&name) {
        return Ok(name);
    }
    Err(Error::bad_request(NO_FUNCTION))
}

fn is_function_name(text: &str) -> bool {
    text.len() <= MAX_CALLBACK_BYTES
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(is_name_byte)
}

const NO_VID: &str = "maxvid is not a vid";
const NO_JSONP: &str =
    "callback= is not allowed here; legacy.jsonp = true in the configuration allows it";
const NO_FUNCTION: &str = "callback is not the name of a JavaScript function";

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.')
}

/// The flat object, made once for all pages that read the event.
fn shared_json(event: &Event) -> &Bytes {
    let encode = || flat_json(event);
    event.encodings.get_or_encode(WireForm::Flat, encode)
}

fn respond(json: &Bytes, callback: Option<&str>, memory: &MemoryBudget) -> Response {
    let (content_type, paid) = match callback {
        Some(name) => (SCRIPT, memory.own(MemoryKind::Answer, script(name, json))),
        None => (JSON, memory.share(json.clone())),
    };
    long_poll::respond(headers(content_type), Body::from(paid))
}

/// The comment keeps the answer from being taken for another file format.
fn script(callback: &str, json: &[u8]) -> Vec<u8> {
    [b"/**/", callback.as_bytes(), b"(", json, b");"].concat()
}

/// No event, no body: a web page's script element is loaded and calls nothing.
fn respond_empty(config: &LegacyConfig, is_script: bool) -> Response {
    let status = StatusCode::from_u16(config.empty_status);
    let status = status.expect("the configuration was checked");
    let headers = headers(if is_script { SCRIPT } else { JSON });
    (status, headers, Body::empty()).into_response()
}

fn headers(content_type: HeaderValue) -> HeaderMap {
    let mut headers = no_store(content_type);
    // A callback's name is the client's: no browser is to take it for another format.
    set(&mut headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    headers
}

fn report_gap(headers: &mut HeaderMap, gap: Option<&Gap>) {
    // A cursor is ASCII, so a gap always fits into a header.
    let json = gap.and_then(|gap| serde_json::to_vec(gap).ok());
    let value = json.and_then(|json| HeaderValue::try_from(json).ok());
    headers.extend(value.map(|value| (GAP_HEADER, value)));
}

fn report_filter(headers: &mut HeaderMap, cut_to: Option<&Filter>) {
    let topics = cut_to.map(|filter| filter.topics().collect::<Vec<_>>());
    let json = topics.and_then(|topics| serde_json::to_string(&topics).ok());
    // A script reads a header byte by byte, so it has to be ASCII.
    let json = json.map(|json| escape_non_ascii(&json));
    let short = json.filter(|json| json.len() <= MAX_FILTER_HEADER_BYTES);
    let value = short.and_then(|json| HeaderValue::try_from(json).ok());
    headers.extend(value.map(|value| (FILTER_HEADER, value)));
}

/// JSON in which texts have no character beyond ASCII as itself (RFC 8259 §7).
fn escape_non_ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            escaped.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(escaped, "\\u{unit:04x}").expect("a text grows");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::AuthBackground;
    use crate::bus::{Bus, BusOptions};
    use crate::caller::Caller;
    use crate::config::{Config, Overrides};
    use crate::engine::{MemoryEngine, Retention};
    use crate::event::{EventParts, NewEvent};
    use crate::metrics::OpenConnections;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_callback_has_to_be_allowed_and_a_name() {
        assert!(check_callback("show".into(), false).is_err());
        assert!(check_callback("Page.show_1".into(), true).is_ok());
        for name in ["alert(1)//", "a b", "1a", "<script>", &"x".repeat(65)] {
            assert!(check_callback(name.into(), true).is_err(), "{name}");
        }
    }

    #[test]
    fn the_filter_of_a_page_is_reported_in_ascii_and_never_at_length() {
        let reported = |topics: &[String]| {
            let filter = Filter::parse(topics.iter().map(String::as_str)).expect("a filter");
            let mut headers = HeaderMap::new();
            report_filter(&mut headers, Some(&filter));
            let value = headers.get(FILTER_HEADER)?;
            Some(value.to_str().expect("ASCII").to_owned())
        };
        let topics = ["door.\u{1f6aa}".to_owned(), "door.1".to_owned()];
        let expected = r#"["door.1","door.\ud83d\udeaa"]"#;
        assert_eq!(reported(&topics).as_deref(), Some(expected));
        let many: Vec<_> = (0..100)
            .map(|n| format!("{n}.{}", "x".repeat(100)))
            .collect();
        assert_eq!(reported(&many), None);
    }

    /// A cursor that is ahead is waited for first, and then the web page gets a gap.
    #[tokio::test(start_paused = true)]
    async fn the_whole_answer_stays_within_the_wait() {
        let retention = Retention {
            max_age: HOUR,
            max_events: 100,
            max_bytes: u64::MAX,
            dedupe_window: HOUR,
        };
        let options = BusOptions {
            heartbeat: HOUR,
            max_subscribers: 1,
            max_event_bytes: 100,
            retention,
        };
        let bus = Bus::start(Arc::new(MemoryEngine::new(HOUR)), options);
        let parts = EventParts {
            topic: "door.1",
            ..EventParts::default()
        };
        let event = NewEvent::check(parts, 100).expect("an event");
        bus.publish(&Caller::anonymous(), vec![event])
            .await
            .expect("a receipt");
        let text = "[legacy]\ntopic = \"lamp.1\"\nwait = \"40s\"";
        let config = Config::parse(text, Overrides::default()).expect("a configuration");
        let state = AppState {
            bus,
            config: Arc::new(TransportConfig::of(&config, &AuthBackground::default())),
            sources: crate::source::SourceStates::none(),
            admin: crate::transport::AdminWatch::default(),
            traces: crate::traces::Traces::default(),
            connections: OpenConnections::default(),
        };
        let begun = Instant::now();
        let query = RawQuery(Some("maxvid=9".to_owned()));
        let peer = PeerWatch::that_stays();
        let answer = backend(
            State(state),
            Method::GET,
            peer,
            RequestCaller::anonymous(),
            query,
        )
        .await
        .expect("an answer");
        assert!(answer.headers().contains_key(GAP_HEADER));
        assert_eq!(begun.elapsed().as_secs(), 40);
    }
}
