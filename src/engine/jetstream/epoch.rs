//! The epoch of a stream (contract §1).
//!
//! Invariant: gateways that see the same stream see the same epoch, without having written
//! anything. A stream that was deleted and made again has another time of creation; one that was
//! restored from a backup keeps that time on some servers, and begins a new epoch when somebody
//! gives it another mark.

use async_nats::jetstream::stream::Info;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use super::api::{Api, ApiError};
use crate::cursor::Epoch;
use crate::limits;

/// The key of the mark in the metadata of a stream.
pub(super) const MARK: &str = "vidette.epoch";

const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 12;

/// The epoch of a stream: from its time of creation and its mark.
pub(super) fn of(info: &Info) -> Epoch {
    let mark = info.config.metadata.get(MARK).map_or("", String::as_str);
    name_of(info.created.unix_timestamp_nanos(), mark)
}

fn name_of(created_ns: i128, mark: &str) -> Epoch {
    let hash = Sha256::new()
        .chain_update(created_ns.to_be_bytes())
        .chain_update(mark)
        .finalize();

    // 128 bits give more than the 62 that are shown.
    let mut rest = u128::from_be_bytes(hash[..16].try_into().expect("a hash has 32 bytes"));
    let mut name = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        let letter = usize::try_from(rest % 36).expect("below 36");
        name.push(LETTERS[letter].into());
        rest /= 36;
    }
    name.parse().expect("12 letters and digits are an epoch")
}

/// Gives the stream another mark, and so another epoch. Of several gateways that do it at once each
/// is answered that its own mark counts, so it returns once two questions in a row bring the same.
///
/// # Errors
/// The servers have not answered, or do not allow it.
pub(super) async fn renew(api: &Api) -> Result<(), ApiError> {
    // As it came: a newer server may have settings that are not known here.
    let info: Value = ask(api).await?;
    let mut config = info["config"].clone();
    config["metadata"][MARK] = json!(Epoch::random().to_string());
    let subject = format!("STREAM.UPDATE.{}", api.stream());
    let updated = api.call::<Value>(&subject, &config, limits::NATS_RENEW_WAIT);
    updated.await?;

    let mut before = None;
    for _ in 0..limits::NATS_RENEW_QUESTIONS {
        let info = ask(api).await?;
        let mark = info["config"]["metadata"][MARK].clone();
        if before.as_ref() == Some(&mark) {
            return Ok(());
        }
        before = Some(mark);
        sleep(limits::NATS_INFO_INTERVAL_AGAIN).await;
    }
    Err(ApiError::Broken(
        "the mark of the stream changes all the time".into(),
    ))
}

async fn ask(api: &Api) -> Result<Value, ApiError> {
    let subject = format!("STREAM.INFO.{}", api.stream());
    api.call(&subject, &json!({}), limits::NATS_RENEW_WAIT)
        .await
}
