//! Where in the file each setting is.

use std::collections::HashMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

/// The places of all settings and sections, by their full names.
#[derive(Default)]
pub(super) struct SettingPlaces {
    file: Option<String>,
    places: HashMap<String, Place>,
    /// Settings that stand elsewhere, and where.
    elsewhere: HashMap<String, String>,
}

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl SettingPlaces {
    /// Finds the places in a text. One that is not TOML has none.
    pub(super) fn of(text: &str, file: Option<&Path>) -> Self {
        let mut found = SettingPlaces {
            file: file.map(|file| file.display().to_string()),
            ..SettingPlaces::default()
        };

        // Parsed a second time, because the table of values has forgotten where they were.
        if let Ok(table) = DeTable::parse(text) {
            found.add_table("", table.get_ref(), text);
        }
        found
    }

    fn add_table(&mut self, name: &str, table: &DeTable<'_>, text: &str) {
        for (key, value) in table {
            let path = join(name, key.get_ref());

            // What is wrong is mostly a value. A section has none: its name is where it is.
            let is_section = matches!(value.get_ref(), DeValue::Table(_));
            let span = if is_section { key.span() } else { value.span() };
            self.places
                .insert(path.clone(), Place::of(text, span.start));

            // Sections of one name are distinguished by their index, as in the errors.
            match value.get_ref() {
                DeValue::Table(table) => self.add_table(&path, table, text),
                DeValue::Array(values) => {
                    for (index, value) in values.iter().enumerate() {
                        let place = Place::of(text, value.span().start);
                        let path = format!("{path}[{index}]");
                        self.add_element(path, place, value.get_ref(), text);
                    }
                }
                _ => {}
            }
        }
    }

    fn add_element(&mut self, path: String, place: Place, value: &DeValue<'_>, text: &str) {
        if let DeValue::Table(table) = value {
            self.add_table(&path, table, text);
        }
        self.places.insert(path, place);
    }

    /// A setting stands elsewhere than in the file.
    pub(super) fn name(&mut self, setting: &str, place: &str) {
        self.elsewhere.insert(setting.to_owned(), place.to_owned());
    }

    /// What comes before an error: where the setting stands, such as the file, the line and the
    /// column, as far as that is known.
    pub(super) fn before_error(&self, setting: &str) -> String {
        match self.name_of(setting) {
            Some(place) => format!("{place}: "),
            None => String::new(),
        }
    }

    fn name_of(&self, setting: &str) -> Option<String> {
        if let Some(place) = self.elsewhere.get(setting) {
            return Some(place.clone());
        }
        self.in_file(self.place(setting))
    }

    /// Where exactly this setting stands; none where it does not.
    pub(super) fn exactly(&self, setting: &str) -> Option<String> {
        if let Some(place) = self.elsewhere.get(setting) {
            return Some(place.clone());
        }
        self.in_file(Some(*self.places.get(setting)?))
    }

    /// The place of a byte of the text, as it stands before an error.
    pub(super) fn of_byte(&self, text: &str, at: usize) -> String {
        let place = self.in_file(Some(Place::of(text, at)));
        place.map_or_else(String::new, |place| format!("{place}: "))
    }

    fn in_file(&self, place: Option<Place>) -> Option<String> {
        match (&self.file, place) {
            (Some(file), Some(Place { line, column })) => Some(format!("{file}:{line}:{column}")),
            (Some(file), None) => Some(file.clone()),
            (None, Some(Place { line, column })) => Some(format!("line {line}, column {column}")),
            (None, None) => None,
        }
    }

    /// The place of a setting; of its section, where it is missing.
    fn place(&self, mut setting: &str) -> Option<Place> {
        // A missing setting is reported at its section, a missing section at the one around it.
        loop {
            if let Some(place) = self.places.get(setting) {
                return Some(*place);
            }
            setting = &setting[..setting.rfind(['.', '['])?];
        }
    }
}

impl Place {
    /// Of a byte of a text; columns count characters, as editors do.
    fn of(text: &str, at: usize) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Place {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + before[line_start..].chars().count(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place_of_its_setting_or_of_its_section() {
        let lines = [
            "listen = 'ä' # no comment".to_owned(),
            "unix_mode=   'x'".to_owned(),
            "[bus]".to_owned(),
            "heartbeat = '1s'".to_owned(),
            "[[source.gearman]]".to_owned(),
            "  topic = 't'".to_owned(),
            "[[source.gearman]]".to_owned(),
            "topic = 't'".to_owned(),
        ];
        let text = &lines.join("\n");
        let places = SettingPlaces::of(text, None);
        for (setting, place) in [
            ("listen", "line 1, column 10: "),
            ("unix_mode", "line 2, column 14: "),
            ("bus.heartbeat", "line 4, column 13: "),
            ("bus.missing", "line 3, column 2: "),
            ("source.gearman[0].topic", "line 6, column 11: "),
            ("source.gearman[1].topic", "line 8, column 9: "),
            ("source.gearman[1].function", "line 7, column 1: "),
            ("retention.max_age", ""),
        ] {
            assert_eq!(places.before_error(setting), place, "{setting}");
        }
        let places = SettingPlaces::of(text, Some(Path::new("vidette.toml")));
        assert_eq!(places.before_error("bus.heartbeat"), "vidette.toml:4:13: ");
        assert_eq!(places.before_error("retention.max_age"), "vidette.toml: ");
        assert_eq!(places.exactly("retention.max_age"), None);
    }

    #[test]
    fn a_text_that_is_not_toml_has_no_places_of_settings() {
        let places = SettingPlaces::of("a = ", None);
        assert_eq!(places.before_error("a"), "");
        assert_eq!(places.of_byte("a = ", 4), "line 1, column 5: ");
    }
}
