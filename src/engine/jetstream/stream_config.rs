//! The configuration of a stream that is a log.
//!
//! Invariant: a stream from which events could vanish in the middle, or whose acknowledgements mean
//! less than they say, is refused with the name of each field.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};

use super::api::{Api, NO_STREAM};
use super::epoch;
use super::options::JetStreamOptions;
use super::subjects::Subjects;
use super::watch::StreamView;
use crate::cursor::Epoch;
use crate::engine::{BatchBounds, LogRequirements, OpenError};
use crate::limits;

/// A stream that is fit as a log.
pub(super) struct OpenedStream {
    pub(super) view: StreamView,
    pub(super) subjects: Subjects,
    pub(super) batch_bounds: BatchBounds,
    pub(super) durability: String,
    /// For how long the stream remembers ids.
    pub(super) dedupe_window: Duration,
}

/// Opens the stream, or creates it where it is not there and the options say so.
///
/// # Errors
/// It is not there, or unfit.
pub(super) async fn open(
    api: &Api,
    options: &JetStreamOptions,
    required: &LogRequirements,
) -> Result<OpenedStream, OpenError> {
    let found = match api.stream_info(limits::NATS_OPEN_WAIT).await {
        Err(error) if error.is(NO_STREAM) && options.create => {
            create(api, options, required).await?
        }
        found => found.map_err(|error| cannot_open(api, &error))?,
    };
    Ok(OpenedStream {
        view: StreamView::of(&found),
        dedupe_window: found.config.duplicate_window,
        subjects: subjects(&found, options)?,
        batch_bounds: BatchBounds {
            events: limits::NATS_BATCH_EVENTS,
            ..BatchBounds::default()
        },
        durability: "an acknowledged event is held by a majority of the stream's servers".into(),
    })
}

async fn create(
    api: &Api,
    options: &JetStreamOptions,
    required: &LogRequirements,
) -> Result<Info, OpenError> {
    let config = wanted(options, required);
    let subject = format!("STREAM.CREATE.{}", options.stream);
    let created = api.call(&subject, &config, limits::NATS_OPEN_WAIT).await;
    created.map_err(|error| cannot_open(api, &error))
}

fn wanted(options: &JetStreamOptions, required: &LogRequirements) -> Config {
    let prefix = options.prefix.as_deref().unwrap_or(&options.stream);
    let retention = &required.retention;
    let mark = (epoch::MARK.to_owned(), Epoch::random().to_string());
    Config {
        name: options.stream.clone(),
        subjects: vec![Subjects::behind(prefix).all()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        num_replicas: options.replicas,
        max_age: retention.max_age,
        max_messages: i64::try_from(retention.max_events).unwrap_or(-1),
        max_bytes: i64::try_from(retention.max_bytes).unwrap_or(-1),
        max_messages_per_subject: -1,
        max_message_size: -1,
        max_consumers: -1,
        duplicate_window: retention.dedupe_window.min(retention.max_age),
        allow_direct: true,
        allow_atomic_publish: true,
        deny_delete: true,
        first_sequence: options.first_vid,
        metadata: [mark].into(),
        ..Config::default()
    }
}

fn subjects(info: &Info, options: &JetStreamOptions) -> Result<Subjects, OpenError> {
    let found = Subjects::prefix_of(&info.config.subjects);
    let prefix = options.prefix.as_deref().or(found);
    let prefix = prefix.ok_or_else(|| {
        let subjects = info.config.subjects.join(", ");
        OpenError::new(format!(
            "the stream {} takes the subjects {subjects}; a log needs one, as PREFIX.>",
            options.stream
        ))
    })?;
    Ok(Subjects::behind(prefix))
}

fn cannot_open(api: &Api, error: &super::api::ApiError) -> OpenError {
    OpenError::new(format!("cannot open the stream {}: {error}", api.stream()))
}
