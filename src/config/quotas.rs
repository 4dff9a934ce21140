//! `[limits.address]`, `[limits.caller]`, `[limits.key]`: what each client may use.

use std::num::NonZeroU32;

use super::section::Section;
use crate::limits;
use crate::quota::{ClientLimits, PublishRate, QuotaRules};

const RATE: &str = "published_events_per_second";
const BURST: &str = "published_events_burst";

/// Reads them from the section `[limits]`. A limit of 0 is none.
pub(super) fn quotas(section: &mut Section) -> QuotaRules {
    QuotaRules {
        address: client(section.section("address")),
        caller: client(section.section("caller")),
        key: client(section.section("key")),
        subscriptions_per_connection: per_connection(section),
    }
}

fn client(section: &mut Section) -> ClientLimits {
    ClientLimits {
        subscriptions: NonZeroU32::new(section.value("subscriptions", 0)),
        publish: publish_rate(section),
    }
}

fn publish_rate(section: &mut Section) -> Option<PublishRate> {
    let rate = bounded(section, RATE, limits::MAX_PUBLISH_RATE);
    let burst = bounded(section, BURST, limits::MAX_PUBLISH_BURST);
    let is_alone = rate.is_none() && burst.is_some();
    section.require(BURST, !is_alone, format!("has to be used with {RATE}"));

    let events_per_second = rate?;
    Some(PublishRate {
        events_per_second,
        burst_events: burst.unwrap_or_else(|| default_burst(events_per_second)),
    })
}

fn bounded(section: &mut Section, key: &str, at_most: u32) -> Option<NonZeroU32> {
    let number = section.value(key, 0);
    let rule = format!("has to be at most {at_most}");
    section.require(key, number <= at_most, rule);
    NonZeroU32::new(number.min(at_most))
}

fn default_burst(events_per_second: NonZeroU32) -> NonZeroU32 {
    let seconds = u32::try_from(limits::DEFAULT_BURST.as_secs()).unwrap_or(1);
    let burst = events_per_second.get().saturating_mul(seconds);
    NonZeroU32::new(burst.min(limits::MAX_PUBLISH_BURST)).unwrap_or(NonZeroU32::MIN)
}

/// As many as HTTP/2 has streams are none: a connection cannot have more.
fn per_connection(section: &mut Section) -> Option<NonZeroU32> {
    let at_most = section.value("subscriptions_per_connection", limits::MAX_H2_STREAMS);
    NonZeroU32::new(at_most).filter(|at_most| at_most.get() < limits::MAX_H2_STREAMS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn parse(text: &str) -> Result<QuotaRules, String> {
        let config = Config::parse(text, Overrides::default());
        config
            .map(|config| config.quotas)
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn without_settings_and_with_zeros_nothing_is_limited() {
        assert_eq!(parse(""), Ok(QuotaRules::default()));
        let zeros = "[limits]\nsubscriptions_per_connection = 0\n[limits.key]\nsubscriptions = 0\n\
                     published_events_per_second = 0";
        assert_eq!(parse(zeros), Ok(QuotaRules::default()));
    }

    #[test]
    fn each_kind_of_client_has_its_limits_and_a_burst_of_ten_seconds() {
        let rules = parse(
            "[limits]\nsubscriptions_per_connection = 7\n\
             [limits.address]\nsubscriptions = 5\n\
             [limits.caller]\npublished_events_per_second = 3\n\
             [limits.key]\npublished_events_per_second = 3\npublished_events_burst = 4",
        );
        let rules = rules.expect("limits");
        assert_eq!(rules.subscriptions_per_connection, NonZeroU32::new(7));
        assert_eq!(rules.address.subscriptions, NonZeroU32::new(5));
        assert_eq!(rules.address.publish, None);
        let burst = |limits: ClientLimits| limits.publish.map(|rate| rate.burst_events.get());
        assert_eq!((burst(rules.caller), burst(rules.key)), (Some(30), Some(4)));
    }

    #[test]
    fn a_burst_without_a_rate_and_numbers_beyond_the_bounds_are_errors() {
        let wrong = parse(
            "[limits.address]\npublished_events_burst = 4\n\
             [limits.caller]\npublished_events_per_second = 10000001\n\
             [limits.key]\nsubscriptions = -1\nsubscription = 1",
        );
        let errors = wrong.expect_err("errors");
        for part in [
            "limits.address.published_events_burst",
            "limits.caller.published_events_per_second",
            "limits.key.subscriptions",
            "limits.key.subscription:",
        ] {
            assert!(errors.contains(part), "{part} is missing in: {errors}");
        }
    }
}
