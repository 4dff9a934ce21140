//! What was read: each setting with its value, its default and where it comes from.
//!
//! Invariants:
//! - a setting is recorded whether or not it is set, so what is recorded is all that can be set in
//!   the sections that are there;
//! - no password, token or digest of a key is in a recorded value.

use std::cell::RefCell;
use std::rc::Rc;

use serde::Serialize;
use toml::Value;

/// What stands in place of a secret.
const MASK: &str = "***";
/// Settings that are nothing but a secret.
const SECRETS: [&str; 3] = ["password", "token", "sha256"];
/// Settings whose text may have a secret behind a `?` or a space.
const ADDRESSES: [&str; 2] = ["url", "jwks_url"];

/// A setting as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSetting {
    /// The section, such as `retention` or `source.gearman[0]`; empty outside of all of them.
    pub section: String,
    /// The name within the section.
    pub key: String,
    /// The value as it is written in TOML, less what is secret; none where it is not set and has
    /// no default.
    pub value: Option<String>,
    /// The default as it is written in TOML, where there is one.
    pub default: Option<String>,
    /// Where the value stands: a place in the file, a variable or a flag. None: it is the default.
    pub place: Option<String>,
}

impl ReadSetting {
    /// The full name, such as `retention.max_age`.
    pub fn path(&self) -> String {
        if self.section.is_empty() {
            self.key.clone()
        } else {
            format!("{}.{}", self.section, self.key)
        }
    }
}

/// All settings of a configuration, in the order in which they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingList {
    /// The settings.
    pub settings: Vec<ReadSetting>,
    /// Sections that are there, whether or not something is set in them.
    pub sections: Vec<String>,
}

/// Where all sections of one configuration record what they read.
#[derive(Clone, Default)]
pub(super) struct SettingRecord(Rc<RefCell<SettingList>>);

impl SettingRecord {
    /// A setting is read that is given so, or else has this default.
    pub(super) fn read(
        &self,
        section: &str,
        key: &str,
        given: Option<&Value>,
        default: Option<&Value>,
    ) {
        let default = default.map(|value| shown(key, value));
        let given = given.map(|value| shown(key, value));
        let setting = ReadSetting {
            section: section.to_owned(),
            key: key.to_owned(),
            value: given.or_else(|| default.clone()),
            default,
            place: None,
        };
        self.0.borrow_mut().settings.push(setting);
    }

    /// A flag or a variable has taken the place of a setting that was read.
    pub(super) fn replace(&self, section: &str, key: &str, value: &impl Serialize) {
        let mut list = self.0.borrow_mut();
        let is_it = |setting: &&mut ReadSetting| setting.section == section && setting.key == key;
        if let Some(setting) = list.settings.iter_mut().find(is_it) {
            setting.value = as_toml(value).map(|value| shown(key, &value));
        }
    }

    /// There is a section of this name.
    pub(super) fn section(&self, name: &str) {
        self.0.borrow_mut().sections.push(name.to_owned());
    }

    /// The list, with the places that `place_of` knows.
    pub(super) fn into_list(self, place_of: impl Fn(&str) -> Option<String>) -> SettingList {
        let mut list = self.0.take();
        for setting in &mut list.settings {
            setting.place = place_of(&setting.path());
        }
        list
    }
}

/// A value as TOML has it; none for one that is not set.
pub(super) fn as_toml(value: &impl Serialize) -> Option<Value> {
    Value::try_from(value).ok()
}

fn shown(key: &str, value: &Value) -> String {
    masked(key, value).to_string()
}

fn masked(key: &str, value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(masked_text(key, text)),
        Value::Array(values) => {
            Value::Array(values.iter().map(|value| masked(key, value)).collect())
        }
        // What is no text where one belongs is not shown either.
        _ if SECRETS.contains(&key) => Value::String(MASK.to_owned()),
        other => other.clone(),
    }
}

fn masked_text(key: &str, text: &str) -> String {
    if SECRETS.contains(&key) {
        return MASK.to_owned();
    }
    let text = without_user(text);
    if !ADDRESSES.contains(&key) {
        return text;
    }
    // `?password=…` of PostgreSQL, `password=…` without an address, a token for a key set.
    let is_address = text.contains("://");
    let end = if is_address { text.find('?') } else { Some(0) };
    match end {
        Some(end) if text[end..].contains('=') => format!("{}{MASK}", &text[..end]),
        _ => text,
    }
}

/// An address without the user and the password that may stand in it.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    // A password that is not percent-encoded may have any character in it.
    let before_query = rest.find('?').unwrap_or(rest.len());
    match rest[..before_query].rfind('@') {
        Some(at) => format!("{scheme}://{MASK}{}", &rest[at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (key, text, expected) in [
            ("password", "p", "***"),
            ("sha256", "abc", "***"),
            ("servers", "nats://me:p@a:4222", "nats://***@a:4222"),
            ("servers", "nats://to@ken@a:4222", "nats://***@a:4222"),
            ("servers", "nats://a:4222", "nats://a:4222"),
            ("url", "postgres://me:p/@db", "postgres://***@db"),
            (
                "url",
                "postgres://me:p@/db?host=/run",
                "postgres://***@/db***",
            ),
            ("url", "host=/run user=me password=p", "***"),
            (
                "jwks_url",
                "https://id.test/keys?key=p",
                "https://id.test/keys***",
            ),
            ("jwks_url", "https://id.test/keys", "https://id.test/keys"),
            ("issuer", "https://id.test/?a=b", "https://id.test/?a=b"),
        ] {
            assert_eq!(masked_text(key, text), expected, "{key} {text}");
        }
        let number = masked("password", &Value::Integer(1234));
        assert_eq!(number, Value::String(MASK.to_owned()));
    }
}
