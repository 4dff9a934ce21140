//! All errors of a configuration, collected so that one does not hide the next.

use std::cell::RefCell;
use std::fmt::{self, Display};
use std::rc::Rc;

use super::places::SettingPlaces;

/// Every error of a configuration.
#[derive(Debug)]
pub struct ConfigErrors(Vec<String>);

impl ConfigErrors {
    pub(super) fn one(text: String) -> Self {
        ConfigErrors(vec![text])
    }

    pub(super) fn of(texts: impl Iterator<Item = String>) -> Self {
        ConfigErrors(texts.collect())
    }

    /// One by one, each with its place in the file.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|error| error.trim_end())
    }
}

impl Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s):", self.0.len())?;
        self.iter().try_for_each(|error| write!(f, "\n  - {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Where all sections of one configuration report their errors.
#[derive(Clone)]
pub(super) struct ErrorCollector {
    errors: Rc<RefCell<Vec<String>>>,
    places: Rc<RefCell<SettingPlaces>>,
}

impl ErrorCollector {
    pub(super) fn new(places: SettingPlaces) -> Self {
        ErrorCollector {
            errors: Rc::default(),
            places: Rc::new(RefCell::new(places)),
        }
    }

    /// Adds an error, with the place of the setting in the file.
    pub(super) fn push(&self, setting: &str, text: impl Display) {
        let place = self.places.borrow().before_error(setting);
        self.errors.borrow_mut().push(format!("{place}{text}"));
    }

    /// From here on errors of this setting name another place than the file.
    pub(super) fn name_place(&self, setting: &str, place: &str) {
        self.places.borrow_mut().name(setting, place);
    }

    /// Where a setting stands; none where it does not.
    pub(super) fn place_of(&self, setting: &str) -> Option<String> {
        self.places.borrow().exactly(setting)
    }

    /// Reports a setting that breaks a rule.
    pub(super) fn require(&self, setting: &str, holds: bool, text: impl Display) {
        if !holds {
            self.push(setting, text);
        }
    }

    /// The value, if no error was reported.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, ConfigErrors> {
        let errors = self.errors.take();
        if errors.is_empty() {
            Ok(value)
        } else {
            Err(ConfigErrors(errors))
        }
    }
}
