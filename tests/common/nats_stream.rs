//! One stream of NATS JetStream, as its administrator sees it: who leads it, what it holds, and
//! what may be done to it behind the back of all gateways.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::{Client, Request, jetstream};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

/// The longest that the servers are asked again.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that one question waits.
const ANSWER: Duration = Duration::from_secs(2);

/// A stream.
#[derive(Clone)]
pub struct NatsStream {
    client: Client,
    pub name: String,
}

/// A message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub subject: String,
    /// The `Nats-Msg-Id`, or nothing.
    pub id: String,
    pub data: Vec<u8>,
}

impl NatsStream {
    pub fn new(client: Client, name: &str) -> Self {
        NatsStream {
            client,
            name: name.to_owned(),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks the JSON API once; the subject is that behind `$JS.API.`.
    pub async fn try_api(&self, subject: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::new().payload(body.into()).timeout(Some(ANSWER));
        let answer = self
            .client
            .send_request(format!("$JS.API.{subject}"), request)
            .await
            .map_err(|error| error.to_string())?;
        let answer: Value =
            serde_json::from_slice(&answer.payload).map_err(|error| error.to_string())?;
        if answer["error"].is_object() {
            return Err(answer["error"].to_string());
        }
        Ok(answer)
    }

    /// Asks until it is answered well.
    pub async fn api(&self, subject: &str, body: &Value) -> Value {
        let mut last = String::new();
        let asking = async {
            loop {
                match self.try_api(subject, body).await {
                    Ok(answer) => return answer,
                    Err(error) => last = error,
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let answer = timeout(PATIENCE, asking).await;
        answer.unwrap_or_else(|_| panic!("{subject}: {last}"))
    }

    /// What it says of itself, where it answers.
    pub async fn info(&self) -> Option<Value> {
        let subject = format!("STREAM.INFO.{}", self.name);
        self.try_api(&subject, &Value::Null).await.ok()
    }

    pub async fn until_info(&self) -> Value {
        self.api(&format!("STREAM.INFO.{}", self.name), &Value::Null)
            .await
    }

    /// The server that leads it, where one says so now.
    pub async fn leader(&self) -> Option<String> {
        let info = self.info().await?;
        let leader = info["cluster"]["leader"].as_str()?;
        (!leader.is_empty()).then(|| leader.to_owned())
    }

    pub async fn until_leader(&self) -> String {
        let waiting = async {
            loop {
                if let Some(leader) = self.leader().await {
                    return leader;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("a leader")
    }

    /// Waits until a majority leads it, and each of its servers has all of it.
    pub async fn until_whole(&self, servers: usize) {
        let waiting = async {
            loop {
                let info = self.until_info().await;
                let replicas = info["cluster"]["replicas"].as_array();
                let current = |replica: &&Value| replica["current"].as_bool() == Some(true);
                let others = replicas.map_or(0, |all| all.iter().filter(current).count());
                if others + 1 == servers {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("a whole stream");
    }

    /// Has the leader give way.
    pub async fn step_down(&self) -> Result<Value, String> {
        let subject = format!("STREAM.LEADER.STEPDOWN.{}", self.name);
        self.try_api(&subject, &Value::Null).await
    }

    /// The names of its consumers, and on which server each is.
    pub async fn consumers(&self) -> Vec<(String, Option<String>)> {
        let listed = self
            .api(&format!("CONSUMER.LIST.{}", self.name), &json!({}))
            .await;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let consumers = listed["consumers"].as_array().cloned().unwrap_or_default();
        let consumer = |consumer: &Value| {
            let name = text(&consumer["name"]).expect("a name");
            (name, text(&consumer["cluster"]["leader"]))
        };
        consumers.iter().map(consumer).collect()
    }

    pub async fn delete_consumer(&self, name: &str) -> Result<Value, String> {
        let subject = format!("CONSUMER.DELETE.{}.{name}", self.name);
        self.try_api(&subject, &Value::Null).await
    }

    /// Removes messages: all, or those that the filter names, as `{"seq": 10}` or `{"keep": 5}`.
    pub async fn purge(&self, filter: &Value) -> Value {
        self.api(&format!("STREAM.PURGE.{}", self.name), filter)
            .await
    }

    /// Changes its configuration.
    pub async fn update(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.until_info().await["config"].take();
        change(&mut config);
        self.api(&format!("STREAM.UPDATE.{}", self.name), &config)
            .await;
    }

    /// Deletes it, and makes another one with the very same configuration.
    pub async fn recreate(&self) {
        let config = self.until_info().await["config"].take();
        self.api(&format!("STREAM.DELETE.{}", self.name), &Value::Null)
            .await;
        self.api(&format!("STREAM.CREATE.{}", self.name), &config)
            .await;
    }

    /// Removes one message, which the configuration may have to allow.
    pub async fn delete_message(&self, seq: u64) {
        let subject = format!("STREAM.MSG.DELETE.{}", self.name);
        self.api(&subject, &json!({ "seq": seq, "no_erase": true }))
            .await;
    }

    /// All that it holds, by sequence. Nothing is written to it meanwhile.
    pub async fn all(&self) -> BTreeMap<u64, Stored> {
        let info = self.until_info().await;
        let number = |name: &str| info["state"][name].as_u64().expect("a number");
        let (count, last) = (number("messages"), number("last_seq"));
        let mut all = BTreeMap::new();
        if count == 0 {
            return all;
        }
        let reading = async {
            let context = jetstream::new(self.client.clone());
            let stream = context.get_stream(&self.name).await.expect("the stream");
            let config = pull::OrderedConfig {
                deliver_policy: DeliverPolicy::All,
                ..pull::OrderedConfig::default()
            };
            let consumer = stream.create_consumer(config).await.expect("a consumer");
            let mut messages = consumer.messages().await.expect("messages");
            while let Some(Ok(message)) = messages.next().await {
                let seq = message.info().expect("its place").stream_sequence;
                let id = message.headers.as_ref().and_then(|h| h.get("Nats-Msg-Id"));
                let stored = Stored {
                    subject: message.subject.to_string(),
                    id: id.map(ToString::to_string).unwrap_or_default(),
                    data: message.payload.to_vec(),
                };
                all.insert(seq, stored);
                if seq == last {
                    return;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("all messages");
        all
    }
}
