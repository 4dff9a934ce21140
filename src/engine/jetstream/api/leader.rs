//! Stored messages, one at a time, from the leader: `STREAM.MSG.GET`.
//!
//! They come as JSON, so even one whose headers break the connection of a client can be looked at.

use std::str::FromStr as _;
use std::time::Duration;

use async_nats::header::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Api, ApiError, NO_MESSAGE, StoredMessage, millis_of};
use crate::cursor::Vid;

/// A message as the leader has it.
#[derive(Debug)]
pub(in crate::engine::jetstream) enum LeaderMessage {
    /// One that every client can read.
    Readable(StoredMessage),
    /// One at this place whose headers are none: a client that gets it from a replica or a consumer
    /// loses its connection. Only clients that write headers by hand can store such a one.
    Unreadable(Vid),
}

#[derive(Deserialize)]
struct Found {
    message: Body,
}

#[derive(Deserialize)]
struct Body {
    subject: String,
    seq: Vid,
    time: String,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Api {
    /// The first message from a vid on whose subject matches; none where there is none.
    ///
    /// # Errors
    /// The leader has not answered.
    pub(in crate::engine::jetstream) async fn leader_message(
        &self,
        from: Vid,
        subjects: &str,
        wait: Duration,
    ) -> Result<Option<LeaderMessage>, ApiError> {
        let body = serde_json::json!({ "seq": from, "next_by_subj": subjects });
        let subject = format!("STREAM.MSG.GET.{}", self.stream);
        match self.call::<Found>(&subject, &body, wait).await {
            Ok(found) => found.message.into_message().map(Some),
            Err(error) if error.is(NO_MESSAGE) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Body {
    fn into_message(self) -> Result<LeaderMessage, ApiError> {
        let bytes = |text: &str| {
            let decoded = STANDARD.decode(text);
            decoded.map_err(|error| ApiError::Broken(error.to_string()))
        };
        let Some(headers) = headers_of(&bytes(&self.hdrs)?) else {
            return Ok(LeaderMessage::Unreadable(self.seq));
        };
        let no_time = || ApiError::Broken("a stored message without a time".into());
        Ok(LeaderMessage::Readable(StoredMessage {
            vid: self.seq,
            time_ms: millis_of(&self.time).ok_or_else(no_time)?,
            data: bytes(&self.data)?.into(),
            subject: self.subject,
            headers,
        }))
    }
}

/// The headers of a message; none where the library would take them for a broken connection.
fn headers_of(block: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    if block.is_empty() {
        return Some(headers);
    }
    let mut lines = std::str::from_utf8(block).ok()?.lines().peekable();
    let status = lines.next()?.strip_prefix("NATS/1.0")?.trim();
    let code = status.split(' ').next().unwrap_or_default();
    let is_code = code.len() == 3 && code.parse().is_ok_and(|code: u16| code >= 100);
    if !code.is_empty() && !is_code {
        return None;
    }
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_str(name).ok()?;
        let mut value = value.trim_start().to_owned();
        // One value may go over several lines.
        while let Some(more) = lines.next_if(|line| line.starts_with(char::is_whitespace)) {
            value.push_str(more);
        }
        headers.append(name, value.trim_end());
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_the_library_refuses_are_known() {
        for good in [
            "",
            "NATS/1.0\r\n\r\n",
            "NATS/1.0\r\na: b\r\n c\r\n\r\n",
            "NATS/1.0 204 EOB\r\na:b\r\n\r\n",
        ] {
            assert!(headers_of(good.as_bytes()).is_some(), "{good:?}");
        }
        for bad in [
            &b"garbage\r\n\r\n"[..],
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\na: \xff\r\n\r\n",
            b"NATS/1.0 abc\r\n\r\n",
            b"NATS/1.0\r\nb\xc3\xa4d name: x\r\n\r\n",
        ] {
            assert!(headers_of(bad).is_none(), "{bad:?}");
        }
        let headers = headers_of(b"NATS/1.0\r\na: 1\r\na: 2\r\n\r\n").expect("headers");
        assert_eq!(headers.get_last("a").map(|a| a.as_str()), Some("2"));
    }
}
