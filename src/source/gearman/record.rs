//! From a job to an event.
//!
//! Invariants:
//! - the data of the event is the job's workload, byte for byte;
//! - a job that is given again has the same id, and two jobs have different ones. The client's
//!   unique id is used as it is. Where there is none, the handle alone would not be enough: a job
//!   server counts handles from 1 again after a restart, so a new job would be taken for an old
//!   one. The id is then made of function, server, handle and workload;
//! - only the content of a job can make it a dead letter.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::WorkerPlan;
use super::packet::GearmanJob;
use crate::config::TopicTemplate;
use crate::event::{EventParts, NewEvent};
use crate::limits;
use crate::source::fingerprint::fingerprint;
use crate::source::text::clip;
use crate::source::work::{DeadLetter, Pulled};

/// With this unique id a client asks the job server to use the workload as the unique id.
const UNIQUE_IS_WORKLOAD: &str = "-";

/// What a job becomes.
pub(super) fn pulled(job: &GearmanJob, plan: &WorkerPlan) -> Pulled {
    let id = id_of(job, &plan.config.function, &plan.server);
    match event(job, plan, &id) {
        Ok(event) => Pulled::Event(event),
        Err(reason) => Pulled::Refused(DeadLetter {
            // It may quote the workload, whose names can be of any length.
            reason: clip(&reason),
            content: beginning(&job.workload, plan.max_event_bytes),
            headers: headers(job, &plan.config.function),
            id: Some(id),
        }),
    }
}

/// The headers of a dead letter.
fn headers(job: &GearmanJob, function: &str) -> Vec<(String, String)> {
    vec![
        ("function".to_owned(), function.to_owned()),
        ("handle".to_owned(), text(&job.handle)),
        ("unique".to_owned(), text(&job.unique)),
        ("workload_bytes".to_owned(), job.workload_bytes.to_string()),
    ]
}

fn text(bytes: &Bytes) -> String {
    let kept = beginning(bytes, limits::GEARMAN_NAME_BYTES);
    clip(&String::from_utf8_lossy(&kept))
}

fn beginning(bytes: &Bytes, max_bytes: usize) -> Bytes {
    bytes.slice(..bytes.len().min(max_bytes))
}

fn id_of(job: &GearmanJob, function: &str, server: &str) -> Arc<str> {
    // The producer knows best which jobs are the same.
    if let Some(unique) = usable_unique(&job.unique) {
        return unique.into();
    }

    // The same job has the same parts when it is given again, and another job has other ones.
    let parts = [
        function.as_bytes(),
        server.as_bytes(),
        &job.handle,
        &job.unique,
        &job.workload,
    ];
    format!("gearman:{}", fingerprint(&parts)).into()
}

/// The client's unique id, where it can be the id of an event.
fn usable_unique(unique: &[u8]) -> Option<&str> {
    let unique = std::str::from_utf8(unique).ok()?;
    // What cannot be an id of an event still is part of the derived one.
    let is_id = unique.len() <= limits::MAX_ID_BYTES && !unique.contains(char::is_control);
    (is_id && !unique.is_empty() && unique != UNIQUE_IS_WORKLOAD).then_some(unique)
}

fn event(job: &GearmanJob, plan: &WorkerPlan, id: &str) -> Result<NewEvent, String> {
    // A workload that is too long has been cut, so nothing in it can be trusted.
    check_length(job.workload_bytes, plan.max_event_bytes)?;
    let parts = EventParts {
        topic: &topic_of(&job.workload, &plan.config.topic)?,
        id: Some(id),
        data: job.workload.clone(),
        ..EventParts::default()
    };
    NewEvent::check(parts, plan.max_event_bytes).map_err(|error| error.to_string())
}

fn check_length(bytes: u64, max_event_bytes: usize) -> Result<(), String> {
    if bytes <= max_event_bytes as u64 {
        return Ok(());
    }
    Err(format!(
        "the workload has {bytes} bytes; at most {max_event_bytes} are allowed \
         (limits.max_event_bytes)"
    ))
}

fn topic_of(workload: &[u8], template: &TopicTemplate) -> Result<String, String> {
    if !template.has_fields() {
        return Ok(template.to_string());
    }

    // Values stay as they were written: a number must not lose digits on its way into a topic.
    let fields: HashMap<String, &RawValue> =
        serde_json::from_slice(workload).map_err(|error| not_an_object(template, &error))?;

    // The template's text has been checked; whether the whole is a topic depends on the fields.
    template.fill(|name| {
        let value = fields.get(name).map(|value| value.get());
        field_text(name, value, template)
    })
}

/// A field's value as a part of a topic: texts without their quotes, numbers as they were written.
fn field_text(name: &str, value: Option<&str>, template: &TopicTemplate) -> Result<String, String> {
    match value {
        None => Err(missing_field(name, template)),
        Some(string) if string.starts_with('"') => {
            serde_json::from_str(string).map_err(|error| error.to_string())
        }
        Some(other) if other.starts_with(['{', '[']) || other == "null" => {
            Err(wrong_field(name, template))
        }
        Some(as_written) => Ok(as_written.to_owned()),
    }
}

fn not_an_object(template: &TopicTemplate, error: &serde_json::Error) -> String {
    format!("the workload is not a JSON object, and the topic {template} needs its fields: {error}")
}

fn missing_field(name: &str, template: &TopicTemplate) -> String {
    format!("the workload has no field {name:?}, which the topic {template} needs")
}

fn wrong_field(name: &str, template: &TopicTemplate) -> String {
    format!("the field {name:?} is neither a text nor a number, and the topic {template} needs it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    const MAX_EVENT_BYTES: usize = 100;

    fn plan(topic: &str) -> WorkerPlan {
        let text = format!("[[source.gearman]]\nfunction = \"getmsg\"\ntopic = \"{topic}\"");
        let config = Config::parse(&text, Overrides::default()).expect("a configuration");
        WorkerPlan {
            config: Arc::new(config.sources.gearman[0].clone()),
            server: "a:4730".to_owned(),
            max_event_bytes: MAX_EVENT_BYTES,
        }
    }

    fn job(handle: &str, unique: &str, workload: &str) -> GearmanJob {
        let part = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        GearmanJob {
            handle: part(handle),
            unique: part(unique),
            workload: part(workload),
            workload_bytes: workload.len() as u64,
        }
    }

    fn topic(template: &str, workload: &str) -> Result<String, String> {
        match pulled(&job("H:a:1", "u1", workload), &plan(template)) {
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
            let error = topic("door.{doorno}", workload).expect_err(workload);
            assert!(error.contains(reason), "{workload}: {error}");
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
        let Pulled::Refused(letter) = pulled(&large, &plan("doors")) else {
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
