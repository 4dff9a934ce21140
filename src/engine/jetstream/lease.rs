//! The record of the source lease: one key of a key-value bucket beside the stream.
//!
//! The bucket `vidette-STREAM` is the stream `KV_vidette-STREAM`, as every tool for NATS shows it.
//! It is made with as many replicas as the log has. Invariants:
//! - the record is read from the leader, and a write is accepted by a majority, like an event;
//! - a write names the revision that it replaces;
//! - each request has a time-out.

use std::sync::Arc;

use async_nats::header::HeaderMap;
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, StorageType};
use async_nats::{Request, header};
use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::SharedStream;
use super::api::{Api, ApiError, NO_MESSAGE, NO_STREAM};
use crate::engine::lease::{LeaseError, LeaseHolder, LeaseRecord, LeaseStore, LeaseWrite};
use crate::limits;

/// The key.
const KEY: &str = "sources";
/// The code by which JetStream says that the record has another revision.
const OTHER_REVISION: u64 = 10071;
/// The header by which key-value clients mark a key without a value.
const OPERATION: &str = "KV-Operation";

/// The record of a stream's lease.
pub(super) struct LeaseBucket {
    stream: Arc<SharedStream>,
}

impl LeaseBucket {
    pub(super) fn of(stream: Arc<SharedStream>) -> Self {
        LeaseBucket { stream }
    }

    fn api(&self) -> &Api {
        &self.stream.api
    }

    fn bucket(&self) -> String {
        format!("vidette-{}", self.api().stream())
    }

    fn stored_in(&self) -> String {
        format!("KV_{}", self.bucket())
    }

    fn subject(&self) -> String {
        format!("$KV.{}.{KEY}", self.bucket())
    }

    async fn find(&self) -> Result<LeaseRecord, ApiError> {
        // Not by DIRECT.GET, which a replica that lags would answer as well.
        let request = format!("STREAM.MSG.GET.{}", self.stored_in());
        let body = json!({ "last_by_subj": self.subject() });
        let wait = limits::SOURCE_LEASE_WAIT;
        let found = self.api().call::<Found>(&request, &body, wait).await?;
        Ok(found.message.record())
    }

    /// Made where it is not there. Of two gateways that make it at once both succeed.
    async fn make(&self) -> Result<(), ApiError> {
        let wait = limits::SOURCE_LEASE_WAIT;
        let log = self.api().stream_info(wait).await?;
        let config = self.config(log.config.num_replicas);
        let request = format!("STREAM.CREATE.{}", self.stored_in());
        self.api().call::<Info>(&request, &config, wait).await?;
        Ok(())
    }

    /// As key-value clients make a bucket, but for the bounds.
    fn config(&self, replicas: usize) -> Config {
        Config {
            name: self.stored_in(),
            description: Some("which gateway of vidette pulls from sources".into()),
            subjects: vec![format!("$KV.{}.>", self.bucket())],
            storage: StorageType::File,
            num_replicas: replicas,
            discard: DiscardPolicy::New,
            max_messages: -1,
            max_messages_per_subject: 1,
            max_bytes: limits::SOURCE_LEASE_BUCKET_BYTES,
            max_message_size: limits::SOURCE_LEASE_BYTES,
            max_consumers: -1,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        }
    }

    async fn replace(
        &self,
        holder: Option<&LeaseHolder>,
        replaced: u64,
    ) -> Result<LeaseWrite, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
            replaced.to_string(),
        );
        let value = if let Some(holder) = holder {
            serde_json::to_vec(holder).expect("texts are JSON")
        } else {
            headers.insert(OPERATION, "DEL");
            Vec::new()
        };
        match self.publish(headers, value.into()).await {
            Ok(revision) => Ok(LeaseWrite::Accepted(revision)),
            Err(error) if error.is(OTHER_REVISION) => Ok(LeaseWrite::Outdated),
            Err(error) => Err(error),
        }
    }

    async fn publish(&self, headers: HeaderMap, value: Bytes) -> Result<u64, ApiError> {
        let wait = limits::SOURCE_LEASE_WAIT;
        let request = Request::new().headers(headers).payload(value);
        let request = request.timeout(Some(wait));
        let accepted = self
            .api()
            .request::<Accepted>(self.subject(), request, wait);
        Ok(accepted.await?.seq)
    }
}

#[async_trait]
impl LeaseStore for LeaseBucket {
    async fn read(&self) -> Result<LeaseRecord, LeaseError> {
        match self.find().await {
            Ok(record) => Ok(record),
            Err(error) if error.is(NO_MESSAGE) => Ok(NO_RECORD),
            Err(error) if error.is(NO_STREAM) => {
                self.make().await.map_err(|error| self.error(&error))?;
                Ok(NO_RECORD)
            }
            Err(error) => Err(self.error(&error)),
        }
    }

    async fn write(
        &self,
        holder: Option<&LeaseHolder>,
        replaced: u64,
    ) -> Result<LeaseWrite, LeaseError> {
        let written = self.replace(holder, replaced).await;
        written.map_err(|error| self.error(&error))
    }
}

impl LeaseBucket {
    fn error(&self, error: &ApiError) -> LeaseError {
        let bucket = self.bucket();
        LeaseError(format!("the key {KEY} of the bucket {bucket}: {error}"))
    }
}

const NO_RECORD: LeaseRecord = LeaseRecord {
    revision: 0,
    holder: None,
};

#[derive(Deserialize)]
struct Accepted {
    seq: u64,
}

#[derive(Deserialize)]
struct Found {
    message: FoundMessage,
}

#[derive(Deserialize)]
struct FoundMessage {
    seq: u64,
    /// In base64; not there where it is empty.
    #[serde(default)]
    data: String,
}

impl FoundMessage {
    fn record(&self) -> LeaseRecord {
        // Whatever else somebody may have put there holds nothing.
        let value = BASE64_STANDARD.decode(&self.data).unwrap_or_default();
        LeaseRecord {
            revision: self.seq,
            holder: serde_json::from_slice(&value).ok(),
        }
    }
}
