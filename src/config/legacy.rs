//! The settings of the legacy page (contract §6).

use std::time::Duration;

use super::section::Section;
use crate::limits;
use crate::topic::Filter;

/// The legacy page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyConfig {
    /// Its path.
    pub path: String,
    /// Which topics it reads.
    pub filter: Filter,
    /// Is JSONP answered?
    pub jsonp: bool,
    /// How long a request waits for an event.
    pub wait: Duration,
    /// The status of an answer without an event: 200 or 204.
    pub empty_status: u16,
}

/// Reads the section `[legacy]`.
pub(super) fn legacy(section: &mut Section) -> LegacyConfig {
    LegacyConfig {
        path: path(section),
        filter: filter(section),
        jsonp: section.value("jsonp", false),
        wait: wait(section),
        empty_status: empty_status(section),
    }
}

fn filter(section: &mut Section) -> Filter {
    // Without topics the page reads everything.
    let topics = section.list("topic", Vec::new());
    Filter::parse(topics.iter().map(String::as_str)).unwrap_or_else(|error| {
        section.error("topic", error);
        Filter::all()
    })
}

fn path(section: &mut Section) -> String {
    let path: String = section.value("path", "/backend.php".to_owned());

    // The router would take braces and stars for parameters.
    let is_path = path.starts_with('/') && !path.contains(['{', '}', '*', '?', '#']);
    let rule = format!("= {path:?} is not a path such as /backend.php");
    section.require("path", is_path, rule);
    path
}

fn wait(section: &mut Section) -> Duration {
    let wait = section.duration("wait", limits::LEGACY_WAIT);
    let is_allowed = !wait.is_zero() && wait <= limits::MAX_WAIT;
    section.require("wait", is_allowed, wait_rule());
    wait
}

fn wait_rule() -> String {
    let longest_s = limits::MAX_WAIT.as_secs();
    format!(
        "has to be more than 0s and at most {longest_s}s; \
         proxies give up after 60s, so stay below that"
    )
}

fn empty_status(section: &mut Section) -> u16 {
    // Old pages know only these two for an answer without an event.
    let status = section.value("empty_status", 200);
    let rule = format!("= {status} is neither 200 (with an empty body) nor 204");
    section.require("empty_status", matches!(status, 200 | 204), rule);
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::{Config, Overrides};

    fn legacy(text: &str) -> Result<(Duration, u16), String> {
        Config::parse(&format!("[legacy]\n{text}"), Overrides::default())
            .map(|config| (config.legacy.wait, config.legacy.empty_status))
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_page_waits_less_long_than_proxies_do() {
        assert_eq!(legacy(""), Ok((Duration::from_secs(55), 200)));
        assert_eq!(
            legacy("wait = \"2m\"\nempty_status = 204"),
            Ok((Duration::from_secs(120), 204))
        );
        for (wrong, reported) in [
            ("wait = \"0s\"", "legacy.wait has to be"),
            ("wait = \"121s\"", "at most 120s"),
            ("wait = 55", "legacy.wait: "),
            ("empty_status = 404", "neither 200"),
            ("empty_status = \"204\"", "legacy.empty_status: "),
        ] {
            let text = legacy(wrong).expect_err(wrong);
            assert!(text.contains(reported), "{wrong}: {text}");
        }
    }
}
