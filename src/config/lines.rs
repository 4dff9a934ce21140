//! On which line of the file each setting is.

use std::collections::HashMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

/// The lines of all settings and sections, by their full names.
#[derive(Default)]
pub(super) struct SettingLines {
    file: Option<String>,
    lines: HashMap<String, usize>,
    /// Settings that stand elsewhere, and where.
    elsewhere: HashMap<String, String>,
}

impl SettingLines {
    /// Finds the lines of a text. One that is not TOML has none.
    pub(super) fn of(text: &str, file: Option<&Path>) -> Self {
        let mut found = SettingLines {
            file: file.map(|file| file.display().to_string()),
            ..SettingLines::default()
        };

        // Parsed a second time, because the table of values has forgotten where they were.
        if let Ok(table) = DeTable::parse(text) {
            let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
            let finder = LineFinder(line_ends);
            found.add_table("", table.get_ref(), &finder);
        }
        found
    }

    fn add_table(&mut self, name: &str, table: &DeTable<'_>, finder: &LineFinder) {
        for (key, value) in table {
            let path = join(name, key.get_ref());
            self.lines
                .insert(path.clone(), finder.line(key.span().start));

            // Sections of one name are distinguished by their index, as in the errors.
            match value.get_ref() {
                DeValue::Table(table) => self.add_table(&path, table, finder),
                DeValue::Array(values) => {
                    for (index, value) in values.iter().enumerate() {
                        let line = finder.line(value.span().start);
                        let path = format!("{path}[{index}]");
                        self.add_element(path, line, value.get_ref(), finder);
                    }
                }
                _ => {}
            }
        }
    }

    fn add_element(&mut self, path: String, line: usize, value: &DeValue<'_>, finder: &LineFinder) {
        if let DeValue::Table(table) = value {
            self.add_table(&path, table, finder);
        }
        self.lines.insert(path, line);
    }

    /// A setting stands elsewhere than in the file.
    pub(super) fn name(&mut self, setting: &str, place: &str) {
        self.elsewhere.insert(setting.to_owned(), place.to_owned());
    }

    /// What comes before an error: where the setting stands, such as the file and the line, as far
    /// as that is known.
    pub(super) fn place(&self, setting: &str) -> String {
        if let Some(place) = self.elsewhere.get(setting) {
            return format!("{place}: ");
        }
        match (&self.file, self.line(setting)) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, Some(line)) => format!("line {line}: "),
            (None, None) => String::new(),
        }
    }

    /// The line of a setting; of its section, where it is missing.
    fn line(&self, mut setting: &str) -> Option<usize> {
        // A missing setting is reported at its section, a missing section at the one around it.
        loop {
            if let Some(line) = self.lines.get(setting) {
                return Some(*line);
            }
            setting = &setting[..setting.rfind(['.', '['])?];
        }
    }
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// The places of all line ends, in bytes.
struct LineFinder(Vec<usize>);

impl LineFinder {
    fn line(&self, at: usize) -> usize {
        1 + self.0.partition_point(|end| *end < at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_the_line_of_its_setting_or_of_its_section() {
        let lines = [
            "listen = 'a'",
            "",
            "[bus]",
            "heartbeat = '1s'",
            "[[source.gearman]]",
            "topic = 't'",
            "[[source.gearman]]",
            "topic = 't'",
        ];
        let text = &lines.join("\n");
        let lines = SettingLines::of(text, None);
        for (setting, place) in [
            ("listen", "line 1: "),
            ("bus.heartbeat", "line 4: "),
            ("bus.missing", "line 3: "),
            ("source.gearman[0].topic", "line 6: "),
            ("source.gearman[1].topic", "line 8: "),
            ("source.gearman[1].function", "line 7: "),
            ("retention.max_age", ""),
        ] {
            assert_eq!(lines.place(setting), place, "{setting}");
        }
        let lines = SettingLines::of(text, Some(Path::new("vidette.toml")));
        assert_eq!(lines.place("bus.heartbeat"), "vidette.toml:4: ");
        assert_eq!(lines.place("retention.max_age"), "vidette.toml: ");
    }

    #[test]
    fn a_text_that_is_not_toml_has_no_lines() {
        assert_eq!(SettingLines::of("a = ", None).place("a"), "");
    }
}
