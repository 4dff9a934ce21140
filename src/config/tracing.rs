//! `[tracing]`: where spans of publishing are sent.

use http::Uri;
use http::uri::Authority;

use super::Overrides;
use super::section::Section;

/// Where spans of publishing are sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TracingConfig {
    /// The address of a collector that takes OTLP over gRPC; none: no spans are made.
    pub otlp_endpoint: Option<String>,
    /// The part of the requests without a `traceparent` that spans are made of, from 0 to 1.
    pub sample_ratio: f64,
}

/// As tracers do where nothing else is said.
const DEFAULT_SAMPLE_RATIO: f64 = 1.0;

impl TracingConfig {
    /// Reads the section `[tracing]`.
    pub(super) fn read(section: &mut Section, flags: &Overrides) -> Self {
        let configured = section.text("otlp_endpoint");
        if let Some(flag) = &flags.otlp_endpoint {
            let name = flags.name_of("--otlp-endpoint");
            section.replaced("otlp_endpoint", name, flag);
        }
        let endpoint = flags.otlp_endpoint.clone().unwrap_or(configured);
        let is_set = !endpoint.is_empty();
        if is_set && !is_address(&endpoint) {
            // The address is not shown: there may be a password in it.
            section.error("otlp_endpoint", NOT_AN_ADDRESS);
        }

        let sample_ratio = section.value("sample_ratio", DEFAULT_SAMPLE_RATIO);
        let is_ratio = (0.0..=1.0).contains(&sample_ratio);
        section.require("sample_ratio", is_ratio, "has to be from 0.0 to 1.0");
        TracingConfig {
            otlp_endpoint: is_set.then_some(endpoint),
            sample_ratio,
        }
    }
}

const NOT_AN_ADDRESS: &str = "has to be the address of a collector that takes OTLP over gRPC, \
    without a user, a path or a query, such as http://127.0.0.1:4317";

fn is_address(text: &str) -> bool {
    text.parse().is_ok_and(|uri: Uri| {
        let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.authority().map(Authority::as_str);
        let is_host = host.is_some_and(|host| !host.contains('@'));
        is_known && is_host && uri.path() == "/" && uri.query().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(text: &str) -> Result<TracingConfig, String> {
        let config = Config::parse(text, Overrides::default());
        config
            .map(|config| config.tracing)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn an_address_and_a_ratio_are_read_and_a_flag_wins() {
        assert_eq!(read("").expect("defaults").otlp_endpoint, None);
        let text = "[tracing]\notlp_endpoint = \"http://collector:4317\"\nsample_ratio = 0.25";
        let set = read(text).expect("a configuration");
        assert_eq!(set.otlp_endpoint.as_deref(), Some("http://collector:4317"));
        assert!((set.sample_ratio - 0.25).abs() < f64::EPSILON);

        let flags = Overrides {
            otlp_endpoint: Some("https://[::1]:4317".to_owned()),
            ..Overrides::default()
        };
        let config = Config::parse(text, flags).expect("a configuration");
        let endpoint = config.tracing.otlp_endpoint;
        assert_eq!(endpoint.as_deref(), Some("https://[::1]:4317"));
    }

    #[test]
    fn what_is_no_address_or_no_ratio_is_refused_with_its_line_and_without_its_password() {
        for wrong in [
            "collector:4317",
            "grpc://collector:4317",
            "http://user:hunter2@collector:4317",
            "http://collector:4318/v1/traces",
        ] {
            let text = format!("[tracing]\notlp_endpoint = \"{wrong}\"");
            let error = read(&text).expect_err(wrong);
            let place = "line 2, column 17: tracing.otlp_endpoint";
            assert!(error.contains(place), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        for wrong in ["-0.1", "1.5", "nan", "\"half\""] {
            let error = read(&format!("[tracing]\nsample_ratio = {wrong}")).expect_err(wrong);
            assert!(error.contains("tracing.sample_ratio"), "{error}");
        }
    }
}
