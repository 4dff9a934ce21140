//! Is a stream fit as a log?
//!
//! Invariant: whatever would make events vanish in the middle, or would have an acknowledgement
//! mean less than it says, is a fault; what is merely weaker than it could be is a warning.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};

use super::super::subjects::Subjects;
use crate::engine::{LogRequirements, Retention};
use crate::limits;

/// What was found in the configuration of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Fitness {
    /// Each keeps the stream from being a log.
    pub(in super::super) faults: Vec<String>,
    /// Each is worth knowing.
    pub(in super::super) warnings: Vec<String>,
}

impl Fitness {
    pub(in super::super) fn of(config: &Config, required: &LogRequirements) -> Self {
        let mut fitness = Fitness::default();
        fitness.check_what_vanishes(config);
        fitness.check_what_is_promised(config);
        fitness.check_what_is_used(config);
        fitness.check_size(config, required.max_event_bytes);
        fitness.compare(config, &required.retention);
        fitness
    }

    fn demand(&mut self, field: &str, holds: bool, why: &str) {
        if !holds {
            self.faults.push(format!("{field} {why}"));
        }
    }

    fn advise(&mut self, holds: bool, text: impl Into<String>) {
        if !holds {
            self.warnings.push(text.into());
        }
    }

    /// Events may go at the beginning of the log alone.
    fn check_what_vanishes(&mut self, config: &Config) {
        let by_limits = config.retention == RetentionPolicy::Limits;
        self.demand(
            "retention",
            by_limits,
            "has to be limits: events are removed when read else",
        );
        let discards_old = config.discard == DiscardPolicy::Old;
        self.demand(
            "discard",
            discards_old,
            "has to be old: publishes are refused when full else",
        );
        let per_subject = config.max_messages_per_subject <= 0;
        let why = "has to be -1: events vanish from the middle of the log else";
        self.demand("max_msgs_per_subject", per_subject, why);
        let why = "has to be off: it lets a publisher remove the events of a topic";
        self.demand("allow_rollup_hdrs", !config.allow_rollup, why);
        let why = "has to be off: it lets a publisher have single events vanish";
        self.demand("allow_msg_ttl", !config.allow_message_ttl, why);
        let has_markers = config
            .subject_delete_marker_ttl
            .is_some_and(|ttl| !ttl.is_zero());
        self.demand("subject_delete_marker_ttl", !has_markers, "has to be 0");
        self.advise(
            config.deny_delete,
            "deny_delete is off: who may administer the stream can delete single events, and \
             readers are not notified of that",
        );
    }

    /// An acknowledgement says that a majority of the servers has the event.
    fn check_what_is_promised(&mut self, config: &Config) {
        let why = "has to be off: publishes would not be acknowledged";
        self.demand("no_ack", !config.no_ack, why);
        let is_async = config.persist_mode == Some(PersistenceMode::Async);
        let why = "has to be default: events are acknowledged before they are written else";
        self.demand("persist_mode", !is_async, why);
        self.advise(
            config.storage == StorageType::File,
            "storage is memory: events are lost when the servers restart",
        );
        self.advise(
            config.num_replicas >= 3,
            format!(
                "num_replicas is {}: the loss of one server stops publishing, or loses events; \
                 3 survive it",
                config.num_replicas
            ),
        );
    }

    /// What gateways ask of the servers.
    fn check_what_is_used(&mut self, config: &Config) {
        let why = "has to be on: gateways read by it";
        self.demand("allow_direct", config.allow_direct, why);
        let why = "has to be on: gateways publish by it";
        self.demand("allow_atomic", config.allow_atomic_publish, why);
        let has_prefix = Subjects::prefix_of(&config.subjects).is_some();
        let found = config.subjects.join(", ");
        let why = format!("has to be one, as PREFIX.>, and is {found:?}");
        self.demand("subjects", has_prefix, &why);
        let why = "has to be off: a stream of counters takes no events";
        self.demand("allow_msg_counter", !config.allow_message_counter, why);
        let why = "has to be off: scheduled messages would become events";
        self.demand("allow_msg_schedules", !config.allow_message_schedules, why);
        let why = "is there: topics would not be what publishers said";
        self.demand("subject_transform", config.subject_transform.is_none(), why);
        self.demand(
            "mirror",
            config.mirror.is_none(),
            "is there: a mirror takes no publishes",
        );
        self.demand(
            "sealed",
            !config.sealed,
            "is on: a sealed stream takes no publishes",
        );
    }

    /// The largest event has to fit, with its headers.
    fn check_size(&mut self, config: &Config, max_event_bytes: usize) {
        let needed = max_event_bytes + limits::NATS_MESSAGE_OVERHEAD_BYTES;
        let most = usize::try_from(config.max_message_size);
        // Below 0 there is no limit.
        let fits = most.map_or(true, |most| most == 0 || most >= needed);
        let why = format!(
            "has to be -1, or {needed}: events of {max_event_bytes} bytes (limits.max_event_bytes) \
             are refused else"
        );
        self.demand("max_msg_size", fits, &why);
    }

    /// The servers trim by the configuration of the stream, whatever the gateway's is.
    fn compare(&mut self, config: &Config, wanted: &Retention) {
        let window = config.duplicate_window;
        self.advise(
            window >= wanted.dedupe_window.min(wanted.max_age),
            format!(
                "duplicate_window is {window:?}: ids are remembered for that long, and not for \
                 the {:?} of [retention] dedupe_window",
                wanted.dedupe_window
            ),
        );
        let no_limit = |limit: i64| u64::try_from(limit).ok().filter(|limit| *limit > 0);
        let age = Some(config.max_age).filter(|age| *age > Duration::ZERO);
        self.advise(
            age == Some(wanted.max_age),
            differs("max_age", &debug(age), &format!("{:?}", wanted.max_age)),
        );
        for (field, found, wanted) in [
            ("max_msgs", no_limit(config.max_messages), wanted.max_events),
            ("max_bytes", no_limit(config.max_bytes), wanted.max_bytes),
        ] {
            // More than JetStream can be told is no limit for it.
            let wanted = Some(wanted).filter(|wanted| i64::try_from(*wanted).is_ok());
            self.advise(
                found == wanted,
                differs(field, &debug(found), &debug(wanted)),
            );
        }
    }
}

fn debug<T: std::fmt::Debug>(limit: Option<T>) -> String {
    limit.map_or("without limit".to_owned(), |limit| format!("{limit:?}"))
}

fn differs(field: &str, found: &str, wanted: &str) -> String {
    format!(
        "{field} of the stream is {found}, and that counts: the servers trim, and [retention] of \
         the configuration, which says {wanted}, is only for streams that are created"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required() -> LogRequirements {
        LogRequirements {
            retention: Retention {
                max_age: Duration::from_secs(3600),
                max_events: 1000,
                max_bytes: u64::MAX,
                dedupe_window: Duration::from_secs(120),
            },
            max_event_bytes: 1 << 20,
        }
    }

    fn fit() -> Config {
        Config {
            name: "doors".to_owned(),
            subjects: vec!["doors.>".to_owned()],
            num_replicas: 3,
            max_age: Duration::from_secs(3600),
            max_messages: 1000,
            max_bytes: -1,
            max_messages_per_subject: -1,
            duplicate_window: Duration::from_secs(120),
            allow_direct: true,
            allow_atomic_publish: true,
            deny_delete: true,
            ..Config::default()
        }
    }

    #[test]
    fn a_stream_as_gateways_create_it_has_neither_faults_nor_warnings() {
        assert_eq!(Fitness::of(&fit(), &required()), Fitness::default());
    }

    #[test]
    fn each_field_that_does_not_fit_is_named_and_all_at_once() {
        let unfit = Config {
            retention: RetentionPolicy::Interest,
            discard: DiscardPolicy::New,
            max_messages_per_subject: 1,
            allow_rollup: true,
            allow_message_ttl: true,
            subject_delete_marker_ttl: Some(Duration::from_secs(1)),
            no_ack: true,
            persist_mode: Some(PersistenceMode::Async),
            allow_direct: false,
            allow_atomic_publish: false,
            subjects: vec!["a.>".to_owned(), "b.>".to_owned()],
            allow_message_counter: true,
            allow_message_schedules: true,
            subject_transform: Some(async_nats::jetstream::stream::SubjectTransform {
                source: "a".to_owned(),
                destination: "b".to_owned(),
            }),
            mirror: Some(async_nats::jetstream::stream::Source::default()),
            sealed: true,
            max_message_size: 1 << 20,
            ..fit()
        };
        let faults = Fitness::of(&unfit, &required()).faults;
        let named: Vec<_> = faults.iter().filter_map(|f| f.split(' ').next()).collect();
        let wanted = [
            "retention",
            "discard",
            "max_msgs_per_subject",
            "allow_rollup_hdrs",
            "allow_msg_ttl",
            "subject_delete_marker_ttl",
            "no_ack",
            "persist_mode",
            "allow_direct",
            "allow_atomic",
            "subjects",
            "allow_msg_counter",
            "allow_msg_schedules",
            "subject_transform",
            "mirror",
            "sealed",
            "max_msg_size",
        ];
        assert_eq!(named, wanted);
    }

    #[test]
    fn what_is_weaker_than_it_could_be_is_a_warning() {
        let weak = Config {
            num_replicas: 1,
            deny_delete: false,
            storage: StorageType::Memory,
            duplicate_window: Duration::from_secs(1),
            max_age: Duration::ZERO,
            max_messages: -1,
            max_bytes: 5,
            ..fit()
        };
        let found = Fitness::of(&weak, &required());
        assert!(found.faults.is_empty(), "{found:?}");
        assert_eq!(found.warnings.len(), 7, "{found:?}");
        assert!(found.warnings[4].contains("without limit"), "{found:?}");
    }
}
