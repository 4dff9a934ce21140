//! What was looked at, how it is, and what to do about it.

use std::fmt;

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Good,
    /// It works, and could work better.
    Warning,
    /// It does not work, or events may be lost.
    Problem,
}

#[derive(Debug, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    pub(super) level: Level,
    text: String,
    /// What to do; none where all is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    pub(super) fn good(check: &'static str, text: impl fmt::Display) -> Self {
        Finding {
            check,
            level: Level::Good,
            text: text.to_string(),
            advice: None,
        }
    }

    pub(super) fn warning(
        check: &'static str,
        text: impl fmt::Display,
        advice: impl fmt::Display,
    ) -> Self {
        Finding {
            level: Level::Warning,
            advice: Some(advice.to_string()),
            ..Self::good(check, text)
        }
    }

    pub(super) fn problem(
        check: &'static str,
        text: impl fmt::Display,
        advice: impl fmt::Display,
    ) -> Self {
        Finding {
            level: Level::Problem,
            ..Self::warning(check, text, advice)
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Good => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        write!(f, "{level:<8} {:<14} {}", self.check, self.text)?;
        match &self.advice {
            Some(advice) => write!(f, "\n{:>24}{advice}", "-> "),
            None => Ok(()),
        }
    }
}
