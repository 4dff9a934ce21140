//! `[log]`: what is logged.

use tracing_subscriber::EnvFilter;

use super::section::Section;

/// What is logged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// As in `RUST_LOG`, for example `info` or `vidette=debug`; none leaves it to the command line.
    pub level: Option<String>,
}

impl LogConfig {
    /// Reads the section `[log]`.
    pub(super) fn read(section: &mut Section) -> Self {
        let level = section.text("level");
        if let Err(error) = EnvFilter::try_new(&level) {
            let example = "error, warn, info, debug, or as in RUST_LOG";
            section.error(
                "level",
                format_args!("{level:?} is none of {example}: {error}"),
            );
        }
        LogConfig {
            level: (!level.is_empty()).then_some(level),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    #[test]
    fn a_level_is_read_and_a_wrong_one_is_reported_with_its_line() {
        let level = |text: &str| Config::parse(text, Overrides::default());
        let level = |text: &str| level(text).map(|config| config.log.level);
        assert_eq!(level("").expect("none"), None);
        let set = level("[log]\nlevel = \"vidette=debug\"").expect("a level");
        assert_eq!(set.as_deref(), Some("vidette=debug"));
        let errors = level("[log]\nlevel = \"vidette=loud\"").expect_err("no level");
        assert!(
            errors.to_string().contains("line 2, column 9: log.level"),
            "{errors}"
        );
    }
}
