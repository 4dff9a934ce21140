//! What of the legacy page can be configured (contract §6).

use std::time::Duration;

use super::faults::{ConfigFaults, Section};
use crate::limits;
use crate::topic::Filter;

/// The legacy page.
#[derive(Debug, Clone)]
pub struct LegacyConfig {
    /// Its path.
    pub path: String,
    /// Which topics it reads.
    pub filter: Filter,
    /// Is JSONP answered?
    pub jsonp: bool,
    /// How long a page waits for an event.
    pub wait: Duration,
    /// The status of an answer without an event: 200 or 204.
    pub empty_status: u16,
}

pub(super) fn legacy(section: &mut Section, faults: &mut ConfigFaults) -> LegacyConfig {
    let topics: Vec<String> = section.list("topic", Vec::new(), faults);
    let filter = Filter::parse(topics.iter().map(String::as_str)).unwrap_or_else(|error| {
        faults.push(format!("legacy.topic: {error}"));
        Filter::all()
    });
    LegacyConfig {
        path: path(section, faults),
        filter,
        jsonp: section.value("jsonp", false, faults),
        wait: wait(section, faults),
        empty_status: empty_status(section, faults),
    }
}

fn path(section: &mut Section, faults: &mut ConfigFaults) -> String {
    let path: String = section.value("path", "/backend.php".to_owned(), faults);
    if !path.starts_with('/') || path.contains(['{', '}', '*', '?', '#']) {
        faults.push(format!(
            "legacy.path = {path:?} is not a path as /backend.php"
        ));
    }
    path
}

fn wait(section: &mut Section, faults: &mut ConfigFaults) -> Duration {
    let wait = section.duration("wait", limits::LEGACY_WAIT, faults);
    if wait.is_zero() || wait > limits::MAX_WAIT {
        let longest_s = limits::MAX_WAIT.as_secs();
        faults.push(format!(
            "legacy.wait has to be more than 0s and at most {longest_s}s; proxies give up after 60s, so stay below that"
        ));
    }
    wait
}

fn empty_status(section: &mut Section, faults: &mut ConfigFaults) -> u16 {
    let status = section.value("empty_status", 200, faults);
    if !matches!(status, 200 | 204) {
        faults.push(format!(
            "legacy.empty_status = {status} is neither 200 (with an empty body) nor 204"
        ));
    }
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::config::{Config, Overrides};

    fn legacy(text: &str) -> Result<(Duration, u16), String> {
        Config::parse(&format!("[legacy]\n{text}"), Overrides::default())
            .map(|config| (config.legacy.wait, config.legacy.empty_status))
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn a_page_waits_less_long_than_proxies_do() {
        assert_eq!(legacy(""), Ok((Duration::from_secs(55), 200)));
        assert_eq!(
            legacy("wait = \"2m\"\nempty_status = 204"),
            Ok((Duration::from_secs(120), 204))
        );
        for (wrong, told) in [
            ("wait = \"0s\"", "legacy.wait has to be"),
            ("wait = \"121s\"", "at most 120s"),
            ("wait = 55", "legacy.wait: "),
            ("empty_status = 404", "neither 200"),
            ("empty_status = \"204\"", "legacy.empty_status: "),
        ] {
            let text = legacy(wrong).expect_err(wrong);
            assert!(text.contains(told), "{wrong}: {text}");
        }
    }
}
