//! What a stream says of the copies that it has got.
//!
//! | where | what |
//! |---|---|
//! | `vidette.earlier` of its metadata | a copy that has ended: the source's epochs |
//! | `vidette.copying` of its metadata | a copy that keeps vids has begun: the source's epoch |
//! | the name of the batch of its last message | where that copy is |
//! | the newest message of a subject of its own | where a copy under new vids is |

use async_nats::jetstream::stream::Info;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::cursor::{Epoch, Vid};
use crate::engine::import::{CopyError, Standing};
use crate::engine::jetstream::api::{Api, ApiError};
use crate::engine::jetstream::subjects::Subjects;
use crate::engine::jetstream::watch::StreamView;
use crate::engine::jetstream::{copied, epoch, lineage};
use crate::engine::{LogState, OpenError};
use crate::limits;
use crate::lineage::Lineage;

const COPYING: &str = "vidette.copying";
const BATCH_ID: &str = "Nats-Batch-Id:";
const NO_MESSAGE: u64 = 10037;
/// JetStream says that it cannot answer now.
const UNAVAILABLE: u64 = 10008;
const NOT_LEADER: u64 = 10009;

/// What the names of batches begin with that keep the vids of a log of this epoch.
pub(super) fn batch_name(source: &Epoch) -> String {
    format!("copy.{source}")
}

/// How a stream is related to a source.
pub(super) async fn standing(
    api: &Api,
    subjects: &Subjects,
    source: &LogState,
) -> Result<Standing, CopyError> {
    let info = ask(api).await?;
    let view = StreamView::of(&info);
    let by_lineage = view.state(true).same_through(source);
    let kept = kept_through(api, &source.lineage).await?;
    let same_through = by_lineage.max(kept);
    let is_empty = info.state.messages == 0;
    if same_through.is_none() && !is_empty && info.config.metadata.contains_key(COPYING) {
        return Err(CopyError::new(BROKEN_OFF));
    }
    Ok(Standing {
        bounds: view.bounds,
        sizes: view.sizes,
        same_through,
        renumbered_through: renumbered_through(api, subjects, &source.lineage).await?,
        max_events: most(info.config.max_messages),
        max_bytes: most(info.config.max_bytes),
        overhead_bytes: limits::COPY_MESSAGE_BYTES,
    })
}

/// A bound of a stream; 0 and less are none.
fn most(configured: i64) -> u64 {
    let most = u64::try_from(configured).ok();
    most.filter(|most| *most > 0).unwrap_or(u64::MAX)
}

const BROKEN_OFF: &str = "another copy into this stream was broken off, or something was appended \
    to the stream before it had ended. Delete the stream, and copy into a new one";

/// Refuses a stream that has a part of another log so far: a gateway would show that as the whole,
/// and the copy could not go on behind what it appends.
///
/// # Errors
/// A copy has begun and not ended, or the servers do not answer.
pub(in crate::engine::jetstream) async fn refuse_unfinished(api: &Api) -> Result<(), OpenError> {
    let info = api.stream_info(limits::NATS_OPEN_WAIT).await;
    let info = info.map_err(|error| OpenError::new(failed(api, &error).to_string()))?;
    if !info.config.metadata.contains_key(COPYING) {
        return Ok(());
    }
    let stream = api.stream();
    Err(OpenError::new(format!(
        "a copy into the stream {stream} has begun and not ended. Wait until it has, or start the \
         same `vidette copy` again; to do without it, delete the stream"
    )))
}

/// The last vid of a stream, where a copy of this source has put it there.
pub(super) async fn kept_through(api: &Api, source: &Lineage) -> Result<Option<Vid>, CopyError> {
    let info = ask(api).await?;
    let last = info.state.last_sequence;
    if info.state.messages == 0 {
        return Ok(None);
    }
    let Some(message) = message(api, &json!({ "seq": last })).await? else {
        return Ok(None);
    };
    let batch = message.batch_id();
    let copied = source.epochs().find(|epoch| {
        let name = format!("{}.", batch_name(epoch));
        batch.as_ref().is_some_and(|batch| batch.starts_with(&name))
    });
    let good_through = copied.and_then(|epoch| source.good_through(epoch));
    Ok(good_through
        .filter(|good_through| last <= *good_through)
        .map(|_| last))
}

/// Up to which vid of a source its events are here under other vids.
pub(super) async fn renumbered_through(
    api: &Api,
    subjects: &Subjects,
    source: &Lineage,
) -> Result<Option<Vid>, CopyError> {
    let mut newest = None;
    for epoch in source.epochs() {
        let subject = copied::mark_subject(epoch, subjects);
        let mark = message(api, &json!({ "last_by_subj": subject })).await?;
        let through = mark.and_then(|mark| mark.data()?.parse().ok());
        newest = newest.max(through.min(source.good_through(epoch)));
    }
    Ok(newest)
}

/// Has an empty stream go on behind this vid, and notes that a copy has begun.
pub(super) async fn begin_kept(api: &Api, source: &Lineage, after: Vid) -> Result<(), CopyError> {
    let info = ask(api).await?;
    if info.state.messages == 0 && info.state.last_sequence < after {
        let subject = format!("STREAM.PURGE.{}", api.stream());
        let purge = json!({ "seq": after + 1 });
        call::<Value>(api, &subject, &purge).await?;
    }
    let found = ask(api).await?.state.last_sequence;
    if found != after {
        return Err(CopyError::new(format!(
            "the stream {} goes on behind vid {found}, and not {after}. Something else is appended \
             to it, or it may not be purged; give the copy a new stream",
            api.stream()
        )));
    }
    change_metadata(api, |metadata| {
        metadata[COPYING] = source.epoch().as_str().into();
    })
    .await
}

/// Notes that the stream has everything of a source up to this vid.
pub(super) async fn end_kept(api: &Api, source: &Lineage, through: Vid) -> Result<(), CopyError> {
    let info = ask(api).await?;
    let earlier = lineage::earlier_of(&info).to_vec();
    let own = Lineage::with_earlier(epoch::of(&info), earlier);
    let text = lineage::to_text(&own.with_copied(source, through));
    change_metadata(api, |metadata| {
        metadata[lineage::EARLIER] = text.as_str().into();
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove(COPYING);
        }
    })
    .await
}

async fn change_metadata(api: &Api, change: impl Fn(&mut Value)) -> Result<(), CopyError> {
    // As it came: a newer server may have settings that are not known here.
    let subject = format!("STREAM.INFO.{}", api.stream());
    let info: Value = call(api, &subject, &json!({})).await?;
    let mut config = info["config"].clone();
    if !config["metadata"].is_object() {
        config["metadata"] = json!({});
    }
    change(&mut config["metadata"]);
    if config["metadata"] == info["config"]["metadata"] {
        return Ok(());
    }
    let subject = format!("STREAM.UPDATE.{}", api.stream());
    call::<Value>(api, &subject, &config).await.map(drop)
}

async fn ask(api: &Api) -> Result<Info, CopyError> {
    let subject = format!("STREAM.INFO.{}", api.stream());
    call(api, &subject, &json!({})).await
}

/// A request that may be made more than once: again while nobody leads the stream, as what is sent
/// then is lost.
async fn call<T: DeserializeOwned>(api: &Api, subject: &str, body: &Value) -> Result<T, CopyError> {
    let answer = call_once_led(api, subject, body).await;
    answer.map_err(|error| failed(api, &error))
}

async fn call_once_led<T: DeserializeOwned>(
    api: &Api,
    subject: &str,
    body: &Value,
) -> Result<T, ApiError> {
    let deadline = Instant::now() + limits::COPY_PATIENCE;
    loop {
        let answer = api.call(subject, body, limits::NATS_INFO_WAIT).await;
        match answer {
            Err(error) if is_passing(&error) && Instant::now() < deadline => {
                sleep(limits::COPY_RETRY_WAIT).await;
            }
            answer => return answer,
        }
    }
}

fn is_passing(error: &ApiError) -> bool {
    match error {
        ApiError::Unanswered(_) | ApiError::NoResponders => true,
        ApiError::Refused { .. } => error.is(UNAVAILABLE) || error.is(NOT_LEADER),
        ApiError::Broken(_) => false,
    }
}

#[derive(Deserialize)]
struct Found {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
}

impl Message {
    fn batch_id(&self) -> Option<String> {
        let headers = String::from_utf8(STANDARD.decode(&self.hdrs).ok()?).ok()?;
        let mut lines = headers
            .lines()
            .filter_map(|line| line.strip_prefix(BATCH_ID));
        lines.next_back().map(|id| id.trim().to_owned())
    }

    fn data(&self) -> Option<String> {
        String::from_utf8(STANDARD.decode(&self.data).ok()?).ok()
    }
}

/// A message, from the leader.
async fn message(api: &Api, which: &Value) -> Result<Option<Message>, CopyError> {
    let subject = format!("STREAM.MSG.GET.{}", api.stream());
    match call_once_led::<Found>(api, &subject, which).await {
        Ok(found) => Ok(Some(found.message)),
        Err(error) if error.is(NO_MESSAGE) => Ok(None),
        Err(error) => Err(failed(api, &error)),
    }
}

fn failed(api: &Api, error: &ApiError) -> CopyError {
    CopyError::new(format!(
        "the stream {}: {error}. Are its servers well, and may this user do so? Start the same \
         command again then; it goes on where it was",
        api.stream()
    ))
}
