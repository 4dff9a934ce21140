//! Reading a TOML table setting by setting, so that one fault does not hide the next.
//!
//! Invariant: what no setting took is an unknown setting, and told as one.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

/// Every fault of a configuration.
#[derive(Debug, Default)]
pub struct ConfigFaults(Vec<String>);

impl ConfigFaults {
    pub(super) fn one(text: String) -> Self {
        ConfigFaults(vec![text])
    }

    pub(super) fn push(&mut self, text: impl Into<String>) {
        self.0.push(text.into());
    }

    pub(super) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.0.len())?;
        self.0
            .iter()
            .try_for_each(|fault| write!(f, "\n  - {}", fault.trim_end()))
    }
}

impl std::error::Error for ConfigFaults {}

/// A table whose settings are taken out one by one.
pub(super) struct Section {
    name: String,
    values: toml::Table,
    sections: BTreeMap<String, Section>,
}

impl Section {
    pub(super) fn new(name: &str, values: toml::Table) -> Self {
        Section {
            name: name.to_owned(),
            values,
            sections: BTreeMap::new(),
        }
    }

    /// The section of this name, the same one each time.
    pub(super) fn section(&mut self, name: &str, faults: &mut ConfigFaults) -> &mut Section {
        let value = self.values.remove(name);
        self.sections
            .entry(name.to_owned())
            .or_insert_with(|| match value {
                Some(toml::Value::Table(values)) => Section::new(name, values),
                None => Section::new(name, toml::Table::new()),
                Some(_) => {
                    faults.push(format!("{name} is a section: write [{name}]"));
                    Section::new(name, toml::Table::new())
                }
            })
    }

    /// The tables of `[[name]]`, taken out in their order, each named as `name[0]`.
    pub(super) fn array(&mut self, name: &str, faults: &mut ConfigFaults) -> Vec<Section> {
        let path = self.path(name);
        let tables = match self.values.remove(name) {
            Some(toml::Value::Array(values)) => values,
            Some(table @ toml::Value::Table(_)) => vec![table],
            Some(_) => vec![toml::Value::Boolean(false)],
            None => Vec::new(),
        };
        let mut sections = Vec::new();
        for (index, value) in tables.into_iter().enumerate() {
            if let toml::Value::Table(values) = value {
                sections.push(Section::new(&format!("{path}[{index}]"), values));
            } else {
                faults.push(format!("{path} is a list of sections: write [[{path}]]"));
            }
        }
        sections
    }

    /// The full name of a setting, for a fault.
    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    pub(super) fn value<T: DeserializeOwned>(
        &mut self,
        key: &str,
        default: T,
        faults: &mut ConfigFaults,
    ) -> T {
        let Some(value) = self.values.remove(key) else {
            return default;
        };
        value.try_into().unwrap_or_else(|fault: toml::de::Error| {
            faults.push(format!("{}: {}", self.path(key), fault.message()));
            default
        })
    }

    /// A list, or one value for a list of one.
    pub(super) fn list(
        &mut self,
        key: &str,
        default: Vec<String>,
        faults: &mut ConfigFaults,
    ) -> Vec<String> {
        match self.values.remove(key) {
            Some(toml::Value::String(one)) => vec![one],
            Some(several) => {
                self.values.insert(key.to_owned(), several);
                self.value(key, default, faults)
            }
            None => default,
        }
    }

    /// A duration such as `15s`, `5m` or `7 days`.
    pub(super) fn duration(
        &mut self,
        key: &str,
        default: Duration,
        faults: &mut ConfigFaults,
    ) -> Duration {
        let text: String = self.value(key, String::new(), faults);
        if text.is_empty() {
            return default;
        }
        humantime::parse_duration(&text).unwrap_or_else(|fault| {
            faults.push(format!(
                "{}: {text:?} is not a duration as 15s, 5m or 7days: {fault}",
                self.path(key)
            ));
            default
        })
    }

    /// Tells every setting that was not taken.
    pub(super) fn finish(self, faults: &mut ConfigFaults) {
        for key in self.values.keys() {
            faults.push(format!("{}: there is no such setting", self.path(key)));
        }
        for section in self.sections.into_values() {
            section.finish(faults);
        }
    }
}
