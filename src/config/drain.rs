//! `[drain]`: how the gateway ends.

use std::time::Duration;

use super::section::Section;
use crate::limits;

/// How the gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainConfig {
    /// Streams are ended spread over this time; zero ends all at once.
    pub over: Duration,
    /// For this long before that the gateway says that it is not ready, and serves everybody: a
    /// balancer takes some time to notice.
    pub notice: Duration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        DrainConfig {
            over: limits::DEFAULT_DRAIN_OVER,
            notice: Duration::ZERO,
        }
    }
}

impl DrainConfig {
    /// Reads the section `[drain]`.
    pub(super) fn read(section: &mut Section) -> Self {
        let default = DrainConfig::default();
        DrainConfig {
            over: bounded(section, "over", default.over),
            notice: bounded(section, "notice", default.notice),
        }
    }
}

fn bounded(section: &mut Section, key: &str, default: Duration) -> Duration {
    let duration = section.duration(key, default);
    let most = humantime::format_duration(limits::MAX_DRAIN_OVER);
    let is_allowed = duration <= limits::MAX_DRAIN_OVER;
    section.require(key, is_allowed, format_args!("has to be at most {most}"));
    duration
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn drain(text: &str) -> Result<DrainConfig, String> {
        Config::parse(text, Overrides::default())
            .map(|config| config.drain)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn times_are_read_within_their_bounds() {
        let default = drain("").expect("the defaults");
        assert_eq!(default.over, Duration::from_secs(20));
        assert_eq!(default.notice, Duration::ZERO);
        let set = drain("[drain]\nover = \"0s\"\nnotice = \"5s\"").expect("both");
        assert_eq!((set.over.as_secs(), set.notice.as_secs()), (0, 5));

        let errors = drain("[drain]\nover = \"2h\"\nnotice = \"a while\"").expect_err("neither");
        assert!(
            errors.contains("line 2, column 8: drain.over has to be at most 1h"),
            "{errors}"
        );
        assert!(
            errors.contains("line 3, column 10: drain.notice"),
            "{errors}"
        );
    }
}
