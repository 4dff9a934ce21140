//! The commented example, which `vidette config example` prints.
//!
//! Invariant: every setting is in it, and each stands with its default where it has one; the tests
//! below hold it to that.

/// A configuration in which every setting is commented out, with its default or an example.
pub const EXAMPLE: &str = include_str!("example.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides, ReadSetting, SettingList};

    /// Settings whose example differs from the default, as that differs from machine to machine or
    /// has to be given.
    const NO_FIXED_DEFAULT: [&str; 2] = ["limits.memory_budget", "auth.jwt[0].algorithms"];

    /// The example with all its settings switched on. Explanations have a space behind their `#`.
    fn switched_on() -> String {
        let on = EXAMPLE.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            _ => line,
        });
        on.collect::<Vec<_>>().join("\n")
    }

    fn parse(text: &str) -> (Vec<String>, SettingList) {
        let (config, list) = Config::parse_file(text, None, &Overrides::default());
        let errors = config.map_or_else(
            |errors| errors.iter().map(str::to_owned).collect(),
            |_| Vec::new(),
        );
        (errors, list)
    }

    #[test]
    fn the_example_is_a_configuration_without_effect() {
        let (errors, list) = parse(EXAMPLE);
        assert!(errors.is_empty(), "{errors:#?}");
        let set = list.settings.iter().find(|setting| setting.place.is_some());
        assert_eq!(set, None);
    }

    #[test]
    fn every_setting_is_in_the_example_and_none_else() {
        let (errors, list) = parse(&switched_on());
        let missing = list.settings.iter().filter(|read| read.place.is_none());
        let missing: Vec<_> = missing.map(ReadSetting::path).collect();
        assert!(missing.is_empty(), "not in the example: {missing:?}");

        // What names files that are not here, or says the same in two ways, and nothing else.
        let is_expected = |error: &&String| {
            [
                "No such file",
                "is not a folder",
                "one of secret_file",
                "keep one",
                "one kind",
            ]
            .iter()
            .any(|part| error.contains(part))
        };
        let wrong: Vec<_> = errors.iter().filter(|error| !is_expected(error)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn each_value_of_the_example_is_the_default_where_there_is_one() {
        let (_, on) = parse(&switched_on());
        let (_, defaults) = parse("");
        let mut differing = Vec::new();
        for shown in &on.settings {
            // Some defaults depend on other settings: here nothing else is set.
            let alone = defaults
                .settings
                .iter()
                .find(|read| read.path() == shown.path());
            let default = alone.unwrap_or(shown).default.clone();
            let has_default = default.is_some() && !NO_FIXED_DEFAULT.contains(&&*shown.path());
            if has_default && shown.value != default {
                differing.push(format!(
                    "{}: {:?} is not {default:?}",
                    shown.path(),
                    shown.value
                ));
            }
        }
        assert!(differing.is_empty(), "{differing:#?}");
    }
}
