//! What is in force, as a configuration: `vidette config show`.
//!
//! Invariant: what is shown is TOML that can be read again, less its secrets.

use std::fmt::{self, Display};

use super::record::{ReadSetting, SettingList};

/// Where the remark behind a setting begins.
const REMARK_COLUMN: usize = 48;

impl Display for SettingList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, section) in self.shown_sections().iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            self.show_section(section, f)?;
        }
        Ok(())
    }
}

impl SettingList {
    /// How many settings differ from being left out.
    pub fn count_set(&self) -> usize {
        let is_set = |setting: &&ReadSetting| setting.place.is_some();
        self.settings.iter().filter(is_set).count()
    }

    /// The same without settings that are left out.
    #[must_use]
    pub fn only_set(mut self) -> Self {
        self.settings.retain(|setting| setting.place.is_some());
        self
    }

    /// Sections in the order in which they were read; what stands in none comes first.
    fn shown_sections(&self) -> Vec<&str> {
        let mut names = vec![""];
        let read = self.settings.iter().map(|setting| &setting.section);
        for section in read.chain(&self.sections) {
            if !names.contains(&section.as_str()) {
                names.push(section);
            }
        }
        names
    }

    fn show_section(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = || self.settings.iter().filter(|read| read.section == name);
        let is_there = self.sections.iter().any(|section| section == name);
        let has_values = settings().any(|setting| setting.value.is_some());

        // A section that only could be there would be there by its head.
        let is_optional = matches!(name, "tls" | "auth");
        let off = if is_there || (has_values && !is_optional) {
            ""
        } else {
            "#"
        };
        match name.split_once('[') {
            _ if name.is_empty() => {}
            Some((list, _)) => writeln!(f, "[[{list}]]")?,
            None => writeln!(f, "{off}[{name}]")?,
        }
        settings().try_for_each(|setting| show(setting, off, f))
    }
}

fn show(setting: &ReadSetting, off: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(value) = &setting.value else {
        return writeln!(f, "# {} is not set", setting.key);
    };
    let assignment = format!("{off}{} = {value}", setting.key);
    let place = setting.place.as_deref().unwrap_or("default");
    writeln!(f, "{assignment:<REMARK_COLUMN$} # {place}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Config, Overrides, SettingList};

    fn read(text: &str, overrides: &Overrides) -> SettingList {
        let file = Path::new("vidette.toml");
        let (config, list) = Config::parse_file(text, Some(file), overrides);
        config.expect("a configuration");
        list
    }

    const FILE: &str = "listen = \"8080\"\n[retention]\nmax_age = '48h'\n[auth]\n\
        [[source.postgres]]\nurl = \"postgres://me:s3cret@/db?host=/run\"\n\
        [jetstream]\nservers = [\"nats://me:s3cret@127.0.0.1:4222\"]";

    #[test]
    fn each_value_is_shown_with_the_place_that_it_comes_from_and_no_secret_is() {
        let overrides = Overrides {
            data_dir: Some("/var/lib/vidette".into()),
            engine: Some("memory".to_owned()),
            variables: vec![("--data-dir", "VIDETTE_DATA_DIR")],
            ..Overrides::default()
        };
        let shown = read(FILE, &overrides).to_string();
        let line = |start: &str| {
            let line = shown.lines().find(|line| line.starts_with(start));
            let line = line.unwrap_or_else(|| panic!("no {start} in {shown}"));
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("listen ="), "listen = [\"8080\"] # vidette.toml:1:10");
        assert_eq!(line("max_age"), "max_age = \"2days\" # vidette.toml:3:11");
        assert_eq!(line("max_events"), "max_events = 10000000 # default");
        assert_eq!(line("engine"), "engine = \"memory\" # --engine");
        assert!(line("data_dir").ends_with("# VIDETTE_DATA_DIR"));
        assert_eq!(line("[auth]"), "[auth]");
        assert_eq!(line("#[tls]"), "#[tls]");
        assert_eq!(line("[[source"), "[[source.postgres]]");
        assert!(shown.contains("postgres://***@/db***"), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn what_is_shown_can_be_read_again_and_is_the_same() {
        let text = "listen = \"8080\"\n[retention]\nmax_age = '48h'\n[auth]\n[auth.anonymous]\n\
            subscribe = ['a.>']\n[[source.gearman]]\nfunction = 'f'\ntopic = 'a'";
        let shown = read(text, &Overrides::default());
        let again = read(&shown.to_string(), &Overrides::default());
        let values = |list: &SettingList| -> Vec<_> {
            let settings = list.settings.iter();
            settings
                .map(|read| (read.path(), read.value.clone()))
                .collect()
        };
        assert_eq!(values(&shown), values(&again));
    }
}
