//! All errors of a configuration, collected so that one does not hide the next.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Every error of a configuration.
#[derive(Debug)]
pub struct ConfigErrors(Vec<String>);

impl ConfigErrors {
    pub(super) fn one(text: String) -> Self {
        ConfigErrors(vec![text])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s):", self.0.len())?;
        self.0
            .iter()
            .try_for_each(|error| write!(f, "\n  - {}", error.trim_end()))
    }
}

impl std::error::Error for ConfigErrors {}

/// Where all sections of one configuration report their errors.
#[derive(Clone, Default)]
pub(super) struct ErrorCollector(Rc<RefCell<Vec<String>>>);

impl ErrorCollector {
    pub(super) fn push(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(text.into());
    }

    /// Reports a broken rule.
    pub(super) fn require(&self, holds: bool, text: impl Into<String>) {
        if !holds {
            self.push(text);
        }
    }

    /// The value, if no error was reported.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, ConfigErrors> {
        let errors = self.0.take();
        if errors.is_empty() {
            Ok(value)
        } else {
            Err(ConfigErrors(errors))
        }
    }
}
