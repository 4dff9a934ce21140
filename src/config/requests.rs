//! What requests may carry beside what the gateway asks for.

use super::faults::{ConfigFaults, Section};
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
#[derive(Debug, Clone, Default)]
pub struct RequestsConfig {
    /// Query parameters that are passed over on every address: tokens that a proxy looks at, cache
    /// busters. `_` always is.
    pub ignore_parameters: Vec<String>,
}

pub(super) fn requests(section: &mut Section, faults: &mut ConfigFaults) -> RequestsConfig {
    let ignore_parameters = section.list("ignore_parameters", Vec::new(), faults);
    if ignore_parameters.len() > limits::MAX_IGNORED_PARAMETERS {
        faults.push(format!(
            "requests.ignore_parameters: there are {} names; at most {} are taken",
            ignore_parameters.len(),
            limits::MAX_IGNORED_PARAMETERS
        ));
    }
    for name in &ignore_parameters {
        if OWN_PARAMETERS.contains(&name.as_str()) {
            faults.push(format!(
                "requests.ignore_parameters: {name:?} is a parameter of the gateway itself and cannot be ignored"
            ));
        }
        if name.is_empty() || name.contains(['=', '&', '?', '#']) {
            faults.push(format!(
                "requests.ignore_parameters: {name:?} is not the name of a query parameter as access_token"
            ));
        }
    }
    RequestsConfig { ignore_parameters }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};
    use crate::transport::request::SUBSCRIBE_PARAMS;

    fn ignoring(names: &str) -> Result<Vec<String>, String> {
        let text = format!("[requests]\nignore_parameters = {names}");
        Config::parse(&text, Overrides::default())
            .map(|config| config.requests.ignore_parameters)
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_gateways_own_parameters_cannot_be_ignored() {
        assert_eq!(
            ignoring("[\"token\", \"_\"]"),
            Ok(vec!["token".to_owned(), "_".to_owned()])
        );
        assert_eq!(ignoring("\"token\""), Ok(vec!["token".to_owned()]));
        for own in SUBSCRIBE_PARAMS.split(", ").chain(["evs_last_event_id"]) {
            let told = ignoring(&format!("[\"token\", \"{own}\"]")).expect_err(own);
            assert!(told.contains("itself"), "{own}: {told}");
        }
        for wrong in ["[\"\"]", "[\"a=b\"]", "7"] {
            assert!(ignoring(wrong).is_err(), "{wrong}");
        }
        let many: Vec<String> = (0..33).map(|number| format!("\"p{number}\"")).collect();
        let told = ignoring(&format!("[{}]", many.join(","))).expect_err("too many");
        assert!(told.contains("at most 32"), "{told}");
    }
}
