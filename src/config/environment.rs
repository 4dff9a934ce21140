//! Settings from the environment: `VIDETTE_RETENTION__MAX_AGE=7days` is `max_age` of `[retention]`
//! (contract §8).
//!
//! Invariants:
//! - a variable wins over the file, and a flag over both;
//! - a variable that names no setting is an error, as an unknown setting in the file is;
//! - no value is quoted in an error of this module.

use toml::{Table, Value};

use super::errors::ErrorCollector;

/// What the names of variables begin with.
const PREFIX: &str = "VIDETTE_";
/// Between a section and a setting in it.
const SEPARATOR: &str = "__";

/// Settings outside of all sections that no flag has.
const OUTSIDE_SECTIONS: [&str; 2] = ["LISTEN_PLAIN", "UNIX_MODE"];

/// A variable that names a setting.
#[derive(Debug, Clone)]
pub struct SettingVariable {
    name: String,
    value: String,
}

/// Those of the environment of this process. Most names with single underscores between their
/// words, such as `VIDETTE_LISTEN`, belong to flags, and others are not the gateway's: a cluster
/// gives every program a `VIDETTE_SERVICE_HOST` where a service has the name.
///
/// # Errors
/// The name of a variable whose value is not UTF-8.
pub fn setting_variables() -> Result<Vec<SettingVariable>, String> {
    let named =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let of_settings = named.filter(|(name, _)| is_of_setting(name));
    let variables = of_settings.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok(SettingVariable { name, value }),
        Err(_) => Err(format!("{name}: the value is not UTF-8")),
    });
    variables.collect()
}

fn is_of_setting(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.contains(SEPARATOR) || OUTSIDE_SECTIONS.contains(&rest))
}

impl SettingVariable {
    /// The full name of the setting, such as `retention.max_age`.
    fn setting(&self) -> String {
        let rest = self.name.strip_prefix(PREFIX).unwrap_or(&self.name);
        rest.to_ascii_lowercase().replace(SEPARATOR, ".")
    }

    /// As in the file, or a text where that is shorter to write: `7days`, `door.>`.
    fn value(&self) -> Value {
        // These are texts although they may look like numbers, as `660` and `8080` do.
        match self.setting().as_str() {
            "unix_mode" => return Value::String(self.value.clone()),
            "listen_plain" if !self.value.starts_with('[') => {
                let addresses = self.value.split(',').map(|text| text.trim().to_owned());
                return Value::Array(addresses.map(Value::String).collect());
            }
            _ => {}
        }
        let as_in_file = format!("value = {}", self.value).parse::<Table>();
        let value = as_in_file.ok().and_then(|mut table| table.remove("value"));
        match value {
            // `20` is a number, and `1979-05-27` the name of something rather than a day.
            Some(Value::Datetime(_)) | None => Value::String(self.value.clone()),
            Some(value) => value,
        }
    }
}

/// Puts the settings into a table as if they stood in the file. Errors of a setting name its
/// variable from here on.
pub(super) fn apply(variables: &[SettingVariable], root: &mut Table, errors: &ErrorCollector) {
    for variable in variables {
        let setting = variable.setting();
        errors.name_place(&setting, &variable.name);
        if !insert(root, &setting, variable.value()) {
            errors.push(
                &setting,
                format_args!("{setting} is a setting in no section"),
            );
        }
    }
}

/// Sets a value, and makes its sections where they are missing. False where something else stands
/// in place of a section.
fn insert(root: &mut Table, setting: &str, value: Value) -> bool {
    let mut tokens: Vec<&str> = setting.split('.').collect();
    let Some(key) = tokens.pop() else {
        return false;
    };
    let mut section = root;
    for token in tokens {
        let inner = section.entry(token).or_insert_with(|| Table::new().into());
        let Value::Table(inner) = inner else {
            return false;
        };
        section = inner;
    }
    section.insert(key.to_owned(), value);
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Overrides};

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variable = |(name, value): &(&str, &str)| SettingVariable {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        let overrides = Overrides {
            settings: variables.iter().map(variable).collect(),
            ..Overrides::default()
        };
        Config::parse(text, overrides).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_variable_wins_over_the_file_and_makes_its_section() {
        let file = "[bus]\nheartbeat = \"10s\"";
        let variables = [
            ("VIDETTE_BUS__HEARTBEAT", "20s"),
            ("VIDETTE_RETENTION__MAX_EVENTS", "7"),
            (
                "VIDETTE_ORIGINS__ALLOW",
                "[\"https://a.example\", \"https://b.example\"]",
            ),
            ("VIDETTE_AUTH__ANONYMOUS__SUBSCRIBE", "[\"public.>\"]"),
            ("VIDETTE_AUTH__COOKIE", "vidette"),
            ("VIDETTE_UNIX_MODE", "660"),
            ("VIDETTE_LISTEN_PLAIN", "9090"),
        ];
        let config = parse(file, &variables).expect("a configuration");
        assert_eq!(config.bus.heartbeat, Duration::from_secs(20));
        assert_eq!(config.bus.retention.max_events, 7);
        assert_eq!(config.origins.allow.len(), 2);
        assert_eq!(
            (config.unix_mode, config.listen_plain.len()),
            (Some(0o660), 1)
        );
        let auth = config.auth.expect("a section");
        assert_eq!(auth.cookie.as_deref(), Some("vidette"));
    }

    #[test]
    fn an_error_names_the_variable_and_an_unknown_one_is_an_error() {
        let wrong = [
            ("VIDETTE_BUS__HEARTBEAT", "soon"),
            ("VIDETTE_BUS__HARTBEAT", "5s"),
            ("VIDETTE_LISTEN__X", "1"),
        ];
        let reported = parse("listen = [\"8080\"]", &wrong).expect_err("three errors");
        for part in [
            "VIDETTE_BUS__HEARTBEAT: bus.heartbeat: ",
            "VIDETTE_BUS__HARTBEAT: bus.hartbeat: unknown setting",
            "VIDETTE_LISTEN__X: listen.x is a setting in no section",
        ] {
            assert!(reported.contains(part), "{part} is missing in: {reported}");
        }
    }

    #[test]
    fn names_with_two_underscores_between_them_are_settings_and_others_are_not() {
        for setting in ["VIDETTE_DRAIN__OVER", "VIDETTE_LISTEN_PLAIN"] {
            assert!(is_of_setting(setting), "{setting}");
        }
        for other in ["VIDETTE_DATA_DIR", "VIDETTE_SERVICE_PORT", "OTHER__SETTING"] {
            assert!(!is_of_setting(other), "{other}");
        }
    }
}
