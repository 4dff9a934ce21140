//! From a job to an event.
//!
//! Invariants:
//! - the data of the event is the job's workload, byte for byte;
//! - a job that is given again has the same id, and two jobs have different ones. The client's
//!   unique id is used as it is. Where there is none, the handle alone would not do: a job server
//!   counts handles from 1 again when it is restarted, and so would take a new job for an old one.
//!   The id is then made of function, server, handle and workload;
//! - nothing but the content of a job makes it a refusal.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::packet::Job;
use crate::config::GearmanConfig;
use crate::event::{EventParts, NewEvent};
use crate::limits;
use crate::source::fingerprint::fingerprint;
use crate::source::state::clip;
use crate::source::{DeadLetter, Pulled};

/// By this a client asks the job server to take the workload for the unique id.
const UNIQUE_IS_WORKLOAD: &str = "-";

/// What a job becomes.
pub(super) fn pulled(
    job: &Job,
    config: &GearmanConfig,
    server: &str,
    max_event_bytes: usize,
) -> Pulled {
    let id = id_of(job, &config.function, server);
    match event(job, config, &id, max_event_bytes) {
        Ok(event) => Pulled::Event(event),
        Err(reason) => Pulled::Refused(DeadLetter {
            reason: clip(&reason),
            content: job
                .workload
                .slice(..job.workload.len().min(max_event_bytes)),
            headers: vec![
                ("function".to_owned(), config.function.clone()),
                ("handle".to_owned(), text(&job.handle)),
                ("unique".to_owned(), text(&job.unique)),
                ("workload_bytes".to_owned(), job.workload_bytes.to_string()),
            ],
            id: Some(id),
        }),
    }
}

fn text(bytes: &[u8]) -> String {
    clip(&String::from_utf8_lossy(
        &bytes[..bytes.len().min(limits::GEARMAN_NAME_BYTES)],
    ))
}

fn id_of(job: &Job, function: &str, server: &str) -> Arc<str> {
    let unique = std::str::from_utf8(&job.unique).unwrap_or_default();
    let is_id = unique.len() <= limits::MAX_ID_BYTES && !unique.contains(char::is_control);
    if !unique.is_empty() && unique != UNIQUE_IS_WORKLOAD && is_id {
        return unique.into();
    }
    let parts = [
        function.as_bytes(),
        server.as_bytes(),
        &job.handle,
        &job.unique,
        &job.workload,
    ];
    format!("gearman:{}", fingerprint(&parts)).into()
}

fn event(
    job: &Job,
    config: &GearmanConfig,
    id: &str,
    max_event_bytes: usize,
) -> Result<NewEvent, String> {
    if job.workload_bytes > max_event_bytes as u64 {
        let length = job.workload_bytes;
        return Err(format!(
            "the workload has {length} bytes; at most {max_event_bytes} are taken (max_event_bytes)"
        ));
    }
    let topic = topic_of(&job.workload, config)?;
    let parts = EventParts {
        topic: &topic,
        id: Some(id),
        data: job.workload.clone(),
        ..EventParts::default()
    };
    NewEvent::check(parts, max_event_bytes).map_err(|fault| fault.to_string())
}

fn topic_of(workload: &[u8], config: &GearmanConfig) -> Result<String, String> {
    let template = &config.topic;
    if !template.has_fields() {
        return Ok(template.to_string());
    }
    let fields: HashMap<String, &RawValue> = serde_json::from_slice(workload).map_err(|fault| {
        format!(
            "the workload is not a JSON object, and the topic {template} needs its fields: {fault}"
        )
    })?;
    template.fill(|name| match fields.get(name).map(|value| value.get()) {
        None => Err(format!(
            "the workload has no field {name:?}, which the topic {template} needs"
        )),
        Some(string) if string.starts_with('"') => {
            serde_json::from_str(string).map_err(|fault| fault.to_string())
        }
        Some(other) if other.starts_with(['{', '[']) || other == "null" => Err(format!(
            "the field {name:?} is neither a text nor a number, and the topic {template} needs it"
        )),
        Some(as_written) => Ok(as_written.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config::{Config, Overrides};

    const MAX_EVENT_BYTES: usize = 100;

    fn config(topic: &str) -> GearmanConfig {
        let text = format!("[[source.gearman]]\nfunction = \"getmsg\"\ntopic = \"{topic}\"");
        Config::parse(&text, Overrides::default())
            .expect("a configuration")
            .sources
            .gearman
            .remove(0)
    }

    fn job(handle: &str, unique: &str, workload: &str) -> Job {
        let part = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Job {
            handle: part(handle),
            unique: part(unique),
            workload: part(workload),
            workload_bytes: workload.len() as u64,
        }
    }

    fn topic(template: &str, workload: &str) -> Result<String, String> {
        match pulled(
            &job("H:a:1", "u1", workload),
            &config(template),
            "a:4730",
            MAX_EVENT_BYTES,
        ) {
            Pulled::Event(event) => Ok(event.topic.to_string()),
            Pulled::Refused(letter) => Err(letter.reason),
        }
    }

    #[test]
    fn the_topic_is_made_of_texts_and_numbers_as_they_were_written() {
        for (workload, expected) in [
            (r#"{"doorno":3}"#, "door.3"),
            (r#"{"doorno":"3"}"#, "door.3"),
            (
                r#"{"doorno":12345678901234567890123}"#,
                "door.12345678901234567890123",
            ),
            (r#"{"doorno":"n\u00f6rd"}"#, "door.nörd"),
            (r#"{"doorno":true}"#, "door.true"),
        ] {
            assert_eq!(
                topic("door.{doorno}", workload).as_deref(),
                Ok(expected),
                "{workload}"
            );
        }
        assert_eq!(topic("doors", "no JSON at all").as_deref(), Ok("doors"));
    }

    #[test]
    fn what_makes_no_topic_is_refused_with_the_reason() {
        for (workload, reason) in [
            ("not JSON", "not a JSON object"),
            ("[3]", "not a JSON object"),
            ("", "not a JSON object"),
            (r#"{"door":3}"#, "no field \"doorno\""),
            (r#"{"doorno":null}"#, "neither a text nor a number"),
            (r#"{"doorno":{"a":1}}"#, "neither a text nor a number"),
            (r#"{"doorno":"a b"}"#, "white space"),
            (r#"{"doorno":""}"#, "empty token"),
            (r#"{"doorno":">"}"#, "wildcard"),
        ] {
            let told = topic("door.{doorno}", workload).expect_err(workload);
            assert!(told.contains(reason), "{workload}: {told}");
        }
        assert!(
            topic("{doorno}.x", r#"{"doorno":"vidette"}"#)
                .expect_err("own")
                .contains("belong to the gateway")
        );
    }

    #[test]
    fn a_job_that_is_too_large_is_refused_with_its_beginning() {
        let mut large = job("H:a:1", "u1", &"x".repeat(MAX_EVENT_BYTES + 10));
        large.workload_bytes = 1_000_000;
        let Pulled::Refused(letter) = pulled(&large, &config("doors"), "a:4730", MAX_EVENT_BYTES)
        else {
            panic!("it is too large");
        };
        assert!(letter.reason.contains("1000000 bytes"), "{}", letter.reason);
        assert_eq!(letter.content.len(), MAX_EVENT_BYTES);
    }

    #[test]
    fn a_job_has_its_unique_id_or_one_of_its_own() {
        let id = |handle, unique, workload| {
            id_of(&job(handle, unique, workload), "getmsg", "a:4730").to_string()
        };
        assert_eq!(id("H:a:1", "record-7", "x"), "record-7");
        let made = id("H:a:1", "", "x");
        assert_eq!(made, id("H:a:1", "", "x"), "a job that is given again");
        assert!(made.starts_with("gearman:"));
        assert_ne!(made, id("H:a:2", "", "x"), "another job");
        assert_ne!(
            made,
            id("H:a:1", "", "y"),
            "another job after the job server was restarted"
        );
        assert_ne!(
            id("H:a:1", "-", "x"),
            id("H:a:1", "-", "y"),
            "- says that the workload is the id"
        );
        assert!(id("H:a:1", "line\nbreak", "x").starts_with("gearman:"));
    }
}
