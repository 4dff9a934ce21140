//! The handshake by which a sender of CloudEvents asks whether it may send (CloudEvents 1.0.2,
//! "HTTP 1.1 Web Hooks", §4).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::quota::QuotaRules;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

const SECONDS_PER_MINUTE: u64 = 60;

/// Any rate.
const ANY: HeaderValue = HeaderValue::from_static("*");

/// Agrees to be sent events, where a sender asks for that. Who may publish is decided when it does.
pub(in crate::transport) fn agree(asked: &HeaderMap, answer: &mut Response, rules: &QuotaRules) {
    let Some(origin) = asked.get(REQUEST_ORIGIN) else {
        return;
    };
    let headers = answer.headers_mut();
    headers.insert(ALLOWED_ORIGIN, origin.clone());
    headers.insert(ALLOWED_RATE, rate(rules));
}

/// Requests a minute that nobody is refused for. A request has at least one event.
fn rate(rules: &QuotaRules) -> HeaderValue {
    let limits = [rules.address, rules.caller, rules.key];
    let rates = limits.iter().filter_map(|limits| limits.publish);
    let lowest = rates.map(|rate| rate.events_per_second.get()).min();
    lowest.map_or(ANY, |events_per_second| {
        (u64::from(events_per_second) * SECONDS_PER_MINUTE).into()
    })
}
