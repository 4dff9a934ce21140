//! Reading a TOML table setting by setting.
//!
//! Invariants:
//! - an invalid setting is reported and its default is used instead, so that reading goes on to the
//!   end and all errors are found at once;
//! - a setting that nothing has read is reported as an unknown one;
//! - each setting that is read is recorded, with its default.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::errors::ErrorCollector;
use super::record::{SettingRecord, as_toml};

/// A table whose settings are taken out one by one.
pub(super) struct Section {
    name: String,
    values: Table,
    sections: BTreeMap<String, Section>,
    errors: ErrorCollector,
    record: SettingRecord,
    /// What relative paths are relative to.
    folder: Arc<Path>,
}

impl Section {
    /// The whole file; its settings have no section in their names. Relative paths in it are
    /// relative to `folder`.
    pub(super) fn root(
        values: Table,
        errors: ErrorCollector,
        record: SettingRecord,
        folder: &Path,
    ) -> Self {
        Section {
            name: String::new(),
            values,
            sections: BTreeMap::new(),
            errors,
            record,
            folder: folder.into(),
        }
    }

    fn within(&self, name: String, values: Table) -> Self {
        Section {
            name,
            values,
            sections: BTreeMap::new(),
            errors: self.errors.clone(),
            record: self.record.clone(),
            folder: self.folder.clone(),
        }
    }

    /// Is there a setting or a section of this name? Asked before it is taken out.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The section of this name, the same one each time.
    pub(super) fn section(&mut self, name: &str) -> &mut Section {
        let values = self.take_table(name);

        // A section is asked for several times, but its table can be taken only once.
        let section = self.within(self.path(name), values);
        self.sections.entry(name.to_owned()).or_insert(section)
    }

    fn take_table(&mut self, name: &str) -> Table {
        match self.values.remove(name) {
            Some(Value::Table(values)) => {
                self.record.section(&self.path(name));
                values
            }
            None => Table::new(),
            // Such as `limits = 3`.
            Some(_) => {
                let text = format!("{name} is a section: write [{name}]");
                self.errors.push(name, text);
                Table::new()
            }
        }
    }

    /// The tables of `[[name]]`, taken out in their order, each named as `name[0]`.
    pub(super) fn array(&mut self, name: &str) -> Vec<Section> {
        let path = self.path(name);
        let mut sections = Vec::new();
        for (index, value) in self.take_array(name).into_iter().enumerate() {
            match value {
                // Its errors name it by its index, because several have the same name.
                Value::Table(values) => {
                    let name = format!("{path}[{index}]");
                    self.record.section(&name);
                    sections.push(self.within(name, values));
                }
                _ => self.not_a_list_of_sections(name),
            }
        }
        sections
    }

    fn take_array(&mut self, name: &str) -> Vec<Value> {
        match self.values.remove(name) {
            Some(Value::Array(values)) => values,
            // A single section, written `[name]`, is a list of one.
            Some(table @ Value::Table(_)) => vec![table],
            Some(_) => {
                self.not_a_list_of_sections(name);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn not_a_list_of_sections(&self, name: &str) {
        let path = self.path(name);
        let text = format!("{path} is a list of sections: write [[{path}]]");
        self.errors.push(&path, text);
    }

    /// The full name of a setting.
    fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    /// Reports what is wrong with this section itself.
    pub(super) fn report_here(&self, rule: &str) {
        self.report(format!("{} {rule}", self.name));
    }

    /// A flag has taken the place of a setting that was read: from here on its errors name the
    /// flag.
    pub(super) fn replaced(&self, key: &str, flag: &str, value: &impl Serialize) {
        self.errors.name_place(&self.path(key), flag);
        self.record.replace(&self.name, key, value);
    }

    fn note(&self, key: &str, default: Option<&Value>) {
        let given = self.values.get(key);
        self.record.read(&self.name, key, given, default);
    }

    /// Reports an error that belongs to no single setting.
    pub(super) fn report(&self, text: String) {
        self.errors.push(&self.name, text);
    }

    /// Reports what is wrong with the value of a setting.
    pub(super) fn error(&self, key: &str, text: impl Display) {
        let path = self.path(key);
        self.errors.push(&path, format_args!("{path}: {text}"));
    }

    /// Reports a setting that breaks a rule. The rule follows its name, as in "has to be …".
    pub(super) fn require(&self, key: &str, holds: bool, rule: impl Display) {
        let path = self.path(key);
        self.errors
            .require(&path, holds, format_args!("{path} {rule}"));
    }

    /// Reports a name that is unfit for metrics, logs and other programs.
    pub(super) fn require_name(&self, key: &str, name: &str, max_bytes: usize) {
        let is_name = name.len() <= max_bytes && !name.contains(char::is_control);
        let rule = format!("is longer than {max_bytes} bytes or has a control character");
        self.require(key, is_name, rule);
    }

    /// A setting of any type.
    pub(super) fn value<T: DeserializeOwned + Serialize>(&mut self, key: &str, default: T) -> T {
        self.note(key, as_toml(&default).as_ref());
        self.take(key, default)
    }

    fn take<T: DeserializeOwned>(&mut self, key: &str, default: T) -> T {
        let Some(value) = self.values.remove(key) else {
            return default;
        };
        value.try_into().unwrap_or_else(|error: toml::de::Error| {
            // The message alone: the rest points into a text that is not the user's.
            self.error(key, error.message());
            default
        })
    }

    /// A text; empty where the setting is missing.
    pub(super) fn text(&mut self, key: &str) -> String {
        self.note(key, None);
        self.take(key, String::new())
    }

    /// A text that no error shows; none where the setting is missing.
    pub(super) fn secret(&mut self, key: &str) -> Option<String> {
        self.note(key, None);
        if let Value::String(secret) = self.values.remove(key)? {
            return Some(secret);
        }
        // Such as a password of digits alone, which has quotes to be a text.
        self.error(key, "has to be a text, in quotes");
        None
    }

    /// The path of a file or folder, as it can be opened from here; none where the setting is
    /// missing or empty.
    pub(super) fn file_path(&mut self, key: &str) -> Option<PathBuf> {
        self.path_or(key, None)
    }

    /// The same where there is a default.
    pub(super) fn path_or(&mut self, key: &str, default: Option<&str>) -> Option<PathBuf> {
        self.note(key, as_toml(&default).as_ref());
        let path = self.take(key, String::new());
        if path.is_empty() {
            return default.map(PathBuf::from);
        }
        let path = self.folder.join(path);
        self.record.replace(&self.name, key, &path);
        Some(path)
    }

    /// A path of the configuration, as it can be opened from here.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// A list of texts. A single text is a list of one.
    pub(super) fn list(&mut self, key: &str, default: Vec<String>) -> Vec<String> {
        self.note(key, as_toml(&default).as_ref());
        // `topic = "door"` reads better than a list of one.
        if let Some(Value::String(_)) = self.values.get(key) {
            let list = vec![self.take(key, String::new())];
            self.record.replace(&self.name, key, &list);
            return list;
        }
        self.take(key, default)
    }

    /// A duration such as `15s`, `5m` or `7 days`.
    pub(super) fn duration(&mut self, key: &str, default: Duration) -> Duration {
        // A number has no unit, so a duration is always a text.
        self.note(key, as_toml(&as_text(default)).as_ref());
        let text = self.take(key, String::new());
        if text.is_empty() {
            return default;
        }
        match humantime::parse_duration(&text) {
            Ok(duration) => {
                self.record.replace(&self.name, key, &as_text(duration));
                duration
            }
            Err(error) => {
                self.error(key, not_a_duration(&text, &error));
                default
            }
        }
    }

    /// Reports every setting that was not read.
    pub(super) fn finish(self) {
        // Sections that nothing has asked for are among them.
        for key in self.values.keys() {
            self.error(key, "unknown setting");
        }
        for section in self.sections.into_values() {
            section.finish();
        }
    }
}

fn as_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn not_a_duration(text: &str, error: &humantime::DurationError) -> String {
    format!("{text:?} is not a duration such as 15s, 5m or 7days: {error}")
}
