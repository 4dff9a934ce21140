//! `[[source.gearman]]`: a function whose jobs become events.

use super::errors::ErrorCollector;
use super::section::Section;
use super::template::TopicTemplate;
use crate::limits;

/// A Gearman function whose jobs become events.
#[derive(Debug, Clone, PartialEq)]
pub struct GearmanConfig {
    /// Its name in metrics, in logs and in dead letters; the function's name by default.
    pub name: String,
    /// Job servers, each as `host:port`.
    pub servers: Vec<String>,
    /// The function.
    pub function: String,
    /// The topic of its jobs.
    pub topic: TopicTemplate,
    /// Jobs of one server that are taken and published together.
    pub concurrency: usize,
}

impl GearmanConfig {
    /// Jobs of one server that are taken together are in memory together.
    pub(super) fn check_memory(&self, max_event_bytes: usize, errors: &ErrorCollector) {
        let most = limits::GEARMAN_HELD_BYTES;

        // The product may overflow, which is too much as well.
        let bytes = self.concurrency.saturating_mul(max_event_bytes);
        let text = too_much_memory(&self.name, most);
        errors.require("source.gearman", bytes <= most, text);
    }
}

fn too_much_memory(name: &str, most: usize) -> String {
    format!(
        "source.gearman {name:?}: concurrency times limits.max_event_bytes is more than {most} \
         bytes; make one of them smaller"
    )
}

const DEFAULT_PORT: u16 = 4730;
const DEFAULT_CONCURRENCY: usize = 64;

const FUNCTION_MEANING: &str = "the Gearman function whose jobs are taken, such as getmsg";
const TOPIC_MEANING: &str = "the topic of the events, such as door.{doorno}";

/// Reads one section. `None` where its function or its topic is missing or invalid.
pub(super) fn gearman(mut section: Section) -> Option<GearmanConfig> {
    let function = function(&mut section);
    let name = name(&mut section, function.as_deref().unwrap_or_default());
    let topic = topic(&mut section);
    let (servers, concurrency) = (servers(&mut section), concurrency(&mut section));

    // Everything is read before anything is missing, so that all errors are found.
    section.finish();
    Some(GearmanConfig {
        name,
        servers,
        function: function?,
        topic: topic?,
        concurrency,
    })
}

fn function(section: &mut Section) -> Option<String> {
    // The job server would refuse a longer name, with an error at run time.
    let function = required(section, "function", FUNCTION_MEANING)?;
    section.require_name("function", &function, limits::GEARMAN_NAME_BYTES);
    Some(function)
}

fn name(section: &mut Section, default: &str) -> String {
    // A function that is taken from two groups of servers needs two names.
    let name = section.value("name", default.to_owned());
    section.require_name("name", &name, limits::SOURCE_NAME_BYTES);
    name
}

fn topic(section: &mut Section) -> Option<TopicTemplate> {
    let text = required(section, "topic", TOPIC_MEANING)?;

    // The error is reported here, where the setting's name is known.
    let parsed = TopicTemplate::parse(&text);
    parsed.map_err(|error| section.error("topic", error)).ok()
}

fn concurrency(section: &mut Section) -> usize {
    let concurrency = section.value("concurrency", DEFAULT_CONCURRENCY);

    // Jobs that are taken together are published as one batch.
    let most = limits::SOURCE_BATCH_EVENTS;
    let is_allowed = (1..=most).contains(&concurrency);
    section.require(
        "concurrency",
        is_allowed,
        format!("has to be from 1 to {most}"),
    );
    concurrency
}

fn required(section: &mut Section, key: &str, meaning: &str) -> Option<String> {
    // An empty text is no more useful than a missing one.
    let text = section.text(key);
    section.require(key, !text.is_empty(), format!("is missing: {meaning}"));
    Some(text).filter(|text| !text.is_empty())
}

fn servers(section: &mut Section) -> Vec<String> {
    let given = section.list("servers", vec!["127.0.0.1".to_owned()]);
    section.require("servers", !given.is_empty(), empty_servers());

    // A server that is listed twice would get a second worker under the same name.
    let mut servers: Vec<String> = Vec::new();
    for text in given {
        let server = with_port(&text);
        if !is_server(&server) {
            section.error("servers", not_a_server(&text));
        } else if servers.contains(&server) {
            section.error("servers", format!("{server} is listed twice"));
        }
        servers.push(server);
    }
    servers
}

/// `host:port`. A colon within the brackets of an IPv6 address is not the one before a port.
fn with_port(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => text.to_owned(),
        _ => format!("{text}:{DEFAULT_PORT}"),
    }
}

fn is_server(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    // Port 0 is valid as a number, but nothing listens there.
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    is_port && !host.is_empty() && !host.contains(char::is_whitespace)
}

fn empty_servers() -> String {
    format!("is empty: name at least one job server, such as 127.0.0.1:{DEFAULT_PORT}")
}

fn not_a_server(text: &str) -> String {
    format!("{text:?} is not a job server such as 127.0.0.1:{DEFAULT_PORT}")
}
