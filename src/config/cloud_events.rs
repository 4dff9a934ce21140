//! `[cloudevents]`: what becomes of CloudEvents.

use super::section::Section;
use super::template::TopicTemplate;

/// The topic is the event's type.
const DEFAULT_TOPIC: &str = "{type}";

/// What becomes of CloudEvents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEventsConfig {
    /// The topic, made of an event's attributes, where neither the path nor the query names one.
    pub topic: TopicTemplate,
}

impl CloudEventsConfig {
    /// Reads the section `[cloudevents]`.
    pub(super) fn read(section: &mut Section) -> Self {
        let text = section.value("topic", DEFAULT_TOPIC.to_owned());
        let topic = TopicTemplate::parse(&text).unwrap_or_else(|error| {
            section.error("topic", error);
            TopicTemplate::field("type")
        });
        CloudEventsConfig { topic }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    #[test]
    fn the_topic_is_a_template() {
        let topic = |text: &str| {
            Config::parse(text, Overrides::default())
                .map(|config| config.cloud_events.topic.to_string())
                .map_err(|errors| errors.to_string())
        };
        assert_eq!(topic(""), Ok("{type}".to_owned()));
        let set = "[cloudevents]\ntopic = \"cloud.{subject}\"";
        assert_eq!(topic(set), Ok("cloud.{subject}".to_owned()));
        let error = topic("[cloudevents]\ntopic = \"cloud.{\"").expect_err("no template");
        assert!(
            error.contains("line 2, column 9: cloudevents.topic"),
            "{error}"
        );
    }
}
