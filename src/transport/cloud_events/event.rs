//! A CloudEvent on its way to the bus: what becomes of its attributes.
//!
//! Invariants:
//! - everything that a CloudEvent has is kept: its type and content type as those of the event, all
//!   else as headers `ce-NAME`, so that it leaves as it came;
//! - the event's id is made of source and id, which together are its identity.

use axum::body::Bytes;

use super::attributes::{Attributes, Required, bad_attribute};
use super::binary::PREFIX;
use crate::config::TopicTemplate;
use crate::cursor::shorten;
use crate::error::{Error, Result};
use crate::event::{ContentType, DataForm, EventParts, NewEvent, may_be_type};
use crate::limits::MAX_TOPIC_BYTES;
use crate::source::fingerprint;
use crate::topic::Topic;

/// The header that says how an event looked in JSON where nothing else shows it: the names of
/// attributes that are numbers or booleans, `data` or `data_base64` where the data stood in the
/// other member than its content type lets expect, and `datacontenttype` where none was given. No
/// attribute has a name with a dash, so it is none of them.
pub(super) const JSON_FORM: &str = "ce-json-form";
/// The header of a content type that is not the event's own, because it has no data.
pub(super) const CONTENT_TYPE_WITHOUT_DATA: &str = "ce-datacontenttype";

/// An event, as its wire had it.
#[derive(Debug)]
pub(super) struct CloudEvent<'a> {
    pub(super) attributes: Attributes<'a>,
    pub(super) data: CloudEventData,
}

/// The bytes of the data, and where they stood.
#[derive(Debug)]
pub(super) enum CloudEventData {
    None,
    /// The member `data`.
    Json(Bytes),
    /// The member `data_base64`.
    Base64(Bytes),
    /// The body of the request.
    Body(Bytes),
}

/// Which topic events are published to.
pub(super) enum TopicRule<'r> {
    /// The path of the request says it.
    Fixed(&'r str),
    /// It is made of each event's attributes.
    Template(&'r TopicTemplate),
}

impl CloudEvent<'_> {
    /// The event as the bus takes it.
    ///
    /// # Errors
    /// A bad request that says what is wrong, or too large.
    pub(super) fn check(self, topic: &TopicRule<'_>, max_event_bytes: usize) -> Result<NewEvent> {
        let Required { id, source, kind } = self.attributes.check()?;
        let topic = topic.fill(&self.attributes)?;
        let own_type = Some(kind).filter(|kind| may_be_type(kind));
        let id = format!("ce:{}", fingerprint(&[source.as_bytes(), id.as_bytes()]));
        let parts = EventParts {
            topic: &topic,
            kind: own_type,
            id: Some(&id),
            content_type: self.content_type(),
            headers: self.headers(own_type.is_some()),
            data: self.data.bytes(),
        };
        NewEvent::check(parts, max_event_bytes)
    }

    /// What the sender says of the data, or what follows from where it stood.
    fn content_type(&self) -> Option<&str> {
        match &self.data {
            // Nothing is of any type.
            CloudEventData::None => None,
            CloudEventData::Json(_) => self.given_content_type().or(Some("application/json")),
            CloudEventData::Base64(_) => {
                let given = self.given_content_type();
                given.or(Some("application/octet-stream"))
            }
            CloudEventData::Body(_) => self.given_content_type(),
        }
    }

    fn given_content_type(&self) -> Option<&str> {
        let given = self.attributes.get("datacontenttype");
        given.filter(|text| !text.is_empty())
    }

    fn headers(&self, has_own_type: bool) -> Vec<(String, String)> {
        let has_data = !matches!(self.data, CloudEventData::None);
        let is_kept = |name: &str| match name {
            "type" => !has_own_type,
            "datacontenttype" => !has_data,
            _ => true,
        };
        let attributes = self.attributes.iter();
        let kept = attributes.filter(|attribute| is_kept(&attribute.name));
        let mut headers: Vec<_> = kept
            .map(|one| (format!("{PREFIX}{}", one.name), one.text.to_string()))
            .collect();

        let json_form = self.json_form();
        if !json_form.is_empty() {
            headers.push((JSON_FORM.to_owned(), json_form.join(" ")));
        }
        headers
    }

    /// What the JSON object shows that nothing else does.
    fn json_form(&self) -> Vec<&str> {
        let literals = self.attributes.iter().filter(|one| one.is_literal);
        let mut form: Vec<_> = literals.map(|one| &*one.name).collect();
        let content_type = self.content_type().map(ContentType::trusted);
        let data_form = content_type.map(|content_type| content_type.form());
        let is_empty = self.data.bytes().is_empty();
        match (&self.data, data_form) {
            (CloudEventData::Json(_), Some(DataForm::Binary)) => form.push("data"),
            (CloudEventData::Json(_), _) if is_empty => form.push("data"),
            (CloudEventData::Base64(_), Some(DataForm::Json | DataForm::Text)) => {
                form.push("data_base64");
            }
            (CloudEventData::Base64(_), _) if is_empty => form.push("data_base64"),
            _ => {}
        }
        let has_data = !matches!(self.data, CloudEventData::None);
        if has_data && self.given_content_type().is_none() {
            form.push("datacontenttype");
        }
        form
    }
}

impl CloudEventData {
    fn bytes(&self) -> Bytes {
        match self {
            CloudEventData::None => Bytes::new(),
            CloudEventData::Json(data)
            | CloudEventData::Base64(data)
            | CloudEventData::Body(data) => data.clone(),
        }
    }
}

impl TopicRule<'_> {
    fn fill(&self, attributes: &Attributes<'_>) -> Result<String> {
        match self {
            TopicRule::Fixed(topic) => Ok((*topic).to_owned()),
            TopicRule::Template(template) => fill(template, attributes),
        }
    }
}

/// Makes a topic of an event's attributes.
fn fill(template: &TopicTemplate, attributes: &Attributes<'_>) -> Result<String> {
    let topic = template.fill(|name| {
        let text = attributes.get(name);
        let text = text.ok_or_else(|| bad_attribute(name, "is missing"))?;
        // A template may name one attribute very often.
        if text.len() > MAX_TOPIC_BYTES {
            let why = format!("is longer than the {MAX_TOPIC_BYTES} bytes of a topic");
            return Err(bad_attribute(name, &why));
        }
        Ok(text.to_owned())
    });
    let checked = topic.and_then(|topic| Topic::for_publisher(&topic).map(|_| topic));
    checked.map_err(|error| no_topic(template, error))
}

fn no_topic(template: &TopicTemplate, error: Error) -> Error {
    let template = template.to_string();
    error.at(&format!(
        "the template {:?} makes no topic of it",
        shorten(&template)
    ))
}
