//! What requests may carry besides what the gateway asks for.

use super::section::Section;
use crate::limits;

/// Parameters that mean something to the gateway, on one address or another.
pub(crate) const OWN_PARAMETERS: [&str; 17] = [
    "topic",
    "after",
    "since",
    "snapshot",
    "on_gap",
    "limit",
    "wait",
    "format",
    "type",
    "id",
    "page_token",
    "maxvid",
    "callback",
    "lastEventId",
    "lastEventID",
    "Last-Event-ID",
    "evs_last_event_id",
];

/// What requests may carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestsConfig {
    /// Query parameters that are ignored on every address, such as tokens for a proxy and cache
    /// busters. `_` always is.
    pub ignore_parameters: Vec<String>,
}

const IGNORE: &str = "ignore_parameters";

/// Reads the section `[requests]`.
pub(super) fn requests(section: &mut Section) -> RequestsConfig {
    let ignore_parameters = section.list(IGNORE, Vec::new());

    // Each request is compared with all of them.
    if ignore_parameters.len() > limits::MAX_IGNORED_PARAMETERS {
        section.error(IGNORE, too_many(ignore_parameters.len()));
    }
    for name in &ignore_parameters {
        check_ignored(section, name);
    }
    RequestsConfig { ignore_parameters }
}

fn check_ignored(section: &Section, name: &str) {
    // An ignored parameter of the gateway's own would change what every request means.
    if OWN_PARAMETERS.contains(&name) {
        section.error(IGNORE, own_parameter(name));
    }

    // What separates parameters cannot be part of a name.
    if name.is_empty() || name.contains(['=', '&', '?', '#']) {
        section.error(IGNORE, not_a_name(name));
    }
}

fn too_many(names: usize) -> String {
    let most = limits::MAX_IGNORED_PARAMETERS;
    format!("there are {names} names; at most {most} are allowed")
}

fn own_parameter(name: &str) -> String {
    format!("{name:?} is a parameter of the gateway itself and cannot be ignored")
}

fn not_a_name(name: &str) -> String {
    format!("{name:?} is not the name of a query parameter such as access_token")
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};
    use crate::transport::request::SUBSCRIBE_PARAMS;

    fn ignoring(names: &str) -> Result<Vec<String>, String> {
        let text = format!("[requests]\nignore_parameters = {names}");
        Config::parse(&text, Overrides::default())
            .map(|config| config.requests.ignore_parameters)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn the_gateways_own_parameters_cannot_be_ignored() {
        assert_eq!(
            ignoring("[\"token\", \"_\"]"),
            Ok(vec!["token".to_owned(), "_".to_owned()])
        );
        assert_eq!(ignoring("\"token\""), Ok(vec!["token".to_owned()]));
        for own in SUBSCRIBE_PARAMS.split(", ").chain(["evs_last_event_id"]) {
            let errors = ignoring(&format!("[\"token\", \"{own}\"]")).expect_err(own);
            assert!(errors.contains("itself"), "{own}: {errors}");
        }
        for wrong in ["[\"\"]", "[\"a=b\"]", "7"] {
            assert!(ignoring(wrong).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..33).map(|number| format!("\"p{number}\"")).collect();
        let errors = ignoring(&format!("[{}]", many.join(","))).expect_err("too many");
        assert!(errors.contains("at most 32"), "{errors}");
    }
}
