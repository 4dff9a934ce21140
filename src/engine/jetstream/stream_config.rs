//! The configuration of a stream that is a log.
//!
//! Invariant: a stream from which events could vanish in the middle, or whose acknowledgements mean
//! less than they say, is refused with the name of each field.

use std::time::Duration;

mod fitness;
mod server;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};

use super::api::{Api, ApiError, NO_STREAM};
use super::durability::Keepers;
use super::epoch;
use super::options::JetStreamOptions;
use super::subjects::Subjects;
use super::watch::StreamView;
use crate::cursor::Epoch;
use crate::engine::{BatchBounds, LogRequirements, OpenError};
use crate::limits;

pub(super) use fitness::Fitness;
pub(super) use server::{ServerReport, watch_servers};

/// The codes by which JetStream says that a stream of that name is there with other settings, …
const STREAM_EXISTS: u64 = 10058;
/// … and that it is not enabled for the account.
const NO_JETSTREAM: u64 = 10039;

/// A stream that is fit as a log.
pub(super) struct OpenedStream {
    pub(super) view: StreamView,
    pub(super) subjects: Subjects,
    pub(super) batch_bounds: BatchBounds,
    pub(super) keepers: Keepers,
    /// For how long the servers remember ids.
    pub(super) dedupe_window: Duration,
}

/// Opens the stream, or creates it where it is not there and the options say so.
///
/// # Errors
/// It is not there, or unfit; the text names each field that does not fit.
pub(super) async fn open(
    api: &Api,
    options: &JetStreamOptions,
    required: &LogRequirements,
) -> Result<OpenedStream, OpenError> {
    let server = ServerReport::of(api.client(), required.max_event_bytes);
    server.check()?;
    let found = match api.stream_info(limits::NATS_OPEN_WAIT).await {
        Err(error) if error.is(NO_STREAM) && options.create => {
            create(api, options, required).await?
        }
        found => found.map_err(|error| cannot_open(api, &error))?,
    };
    let fitness = Fitness::of(&found.config, required);
    if !fitness.faults.is_empty() {
        return Err(unfit(api, &fitness.faults));
    }
    for warning in server.warnings.iter().chain(&fitness.warnings) {
        tracing::warn!(stream = api.stream(), "{warning}");
    }

    let subjects = subjects(&found, options)?;
    tracing::info!(
        stream = api.stream(),
        subjects = subjects.all(),
        replicas = found.config.num_replicas,
        server = server.text,
        "the log is a stream of NATS JetStream"
    );
    Ok(OpenedStream {
        view: StreamView::of(&found),
        subjects,
        batch_bounds: BatchBounds {
            events: limits::NATS_BATCH_EVENTS,
            ..BatchBounds::default()
        },
        keepers: Keepers::of(&found, &api.client().server_info().server_name),
        dedupe_window: found.config.duplicate_window,
    })
}

async fn create(
    api: &Api,
    options: &JetStreamOptions,
    required: &LogRequirements,
) -> Result<Info, OpenError> {
    let config = wanted(options, required);
    let subject = format!("STREAM.CREATE.{}", options.stream);
    match api.call(&subject, &config, limits::NATS_OPEN_WAIT).await {
        // Another gateway has created it meanwhile, with another mark.
        Err(error) if error.is(STREAM_EXISTS) => {
            let found = api.stream_info(limits::NATS_OPEN_WAIT).await;
            found.map_err(|error| cannot_open(api, &error))
        }
        created => created.map_err(|error| cannot_open(api, &error)),
    }
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

/// Gateways with another prefix than the stream's would publish past it.
fn subjects(info: &Info, options: &JetStreamOptions) -> Result<Subjects, OpenError> {
    let (stream, taken) = (&options.stream, info.config.subjects.join(", "));
    match (Subjects::prefix_of(&info.config.subjects), &options.prefix) {
        (Some(found), Some(wanted)) if found != wanted => Err(OpenError::new(format!(
            "the stream {stream} takes the subjects {taken}, and not {wanted}.>; leave \
             jetstream.prefix out, or set it to {found:?}"
        ))),
        (Some(found), _) => Ok(Subjects::behind(found)),
        (None, _) => Err(OpenError::new(format!(
            "the stream {stream} takes the subjects {taken}; a log needs one, as PREFIX.>"
        ))),
    }
}

fn unfit(api: &Api, faults: &[String]) -> OpenError {
    OpenError::new(format!(
        "the stream {} cannot be a log:\n  {}\nChange it (nats stream edit), or name another \
         stream and let it be created (--create)",
        api.stream(),
        faults.join("\n  ")
    ))
}

pub(super) fn cannot_open(api: &Api, error: &ApiError) -> OpenError {
    let stream = api.stream();
    OpenError::new(match error {
        error if error.is(NO_STREAM) => {
            format!("there is no stream {stream}; --create creates it")
        }
        error if error.is(NO_JETSTREAM) => {
            format!("the account or its servers have no JetStream: {error}")
        }
        ApiError::NoResponders => format!(
            "nobody answers for the stream {stream}: JetStream is off on these servers, or has no \
             leader yet"
        ),
        error => format!("cannot open the stream {stream}: {error}"),
    })
}
