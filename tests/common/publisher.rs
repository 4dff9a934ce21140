//! Every way to publish, behind one type, with acknowledgements one by one.

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tonic::Code;
use vidette::proto::{NewEvent, PublishRequest, PublishResponse};

use crate::common::gateway::PATIENCE;
use crate::common::grpc::{self, GrpcClient};
use crate::common::secure;

/// The ways to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `POST /v1/events`: an object, or an array for a batch.
    Events,
    /// `POST /v1/topics/TOPIC`, event by event.
    Topics,
    /// `POST /v1/events` with a line an event.
    Ndjson,
    Publish,
    PublishStream,
}

pub(crate) const WAYS: [Way; 5] = [
    Way::Events,
    Way::Topics,
    Way::Ndjson,
    Way::Publish,
    Way::PublishStream,
];

/// An event that is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) topic: String,
    pub(crate) id: String,
    /// JSON.
    pub(crate) data: String,
}

impl Draft {
    pub(crate) fn new(topic: &str, id: impl Into<String>) -> Self {
        let id = id.into();
        Draft {
            topic: topic.to_owned(),
            data: json!({ "of": id }).to_string(),
            id,
        }
    }

    /// With so much data.
    pub(crate) fn of_size(topic: &str, id: impl Into<String>, bytes: usize) -> Self {
        Draft {
            data: format!("\"{}\"", "x".repeat(bytes)),
            ..Draft::new(topic, id)
        }
    }

    fn object(&self) -> Value {
        let data: Value = serde_json::from_str(&self.data).expect("data is JSON");
        json!({ "topic": self.topic, "id": self.id, "data": data })
    }

    fn message(&self) -> NewEvent {
        NewEvent {
            topic: self.topic.clone(),
            id: self.id.clone(),
            content_type: "application/json".into(),
            data: self.data.clone().into(),
            ..NewEvent::default()
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) vid: u64,
    pub(crate) cursor: String,
    pub(crate) duplicate: bool,
}

/// Why an event was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishError {
    /// A problem over HTTP: status, the last part of its type, detail.
    Problem(u16, String, String),
    /// A status over gRPC.
    Status(Code, String),
    /// The connection broke, or never was.
    Broke(String),
}

impl PublishError {
    /// Is it the error that this HTTP status, this problem and this gRPC code stand for?
    pub(crate) fn is(&self, status: u16, slug: &str, code: Code) -> bool {
        match self {
            PublishError::Problem(s, p, _) => (*s, p.as_str()) == (status, slug),
            PublishError::Status(c, _) => *c == code,
            PublishError::Broke(_) => false,
        }
    }

    pub(crate) fn detail(&self) -> &str {
        match self {
            PublishError::Problem(_, _, detail)
            | PublishError::Status(_, detail)
            | PublishError::Broke(detail) => detail,
        }
    }
}

/// What became of some drafts: the first ones are acknowledged, the rest not.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) acks: Vec<Ack>,
    pub(crate) error: Option<PublishError>,
}

impl Outcome {
    /// All of them are acknowledged.
    pub(crate) fn all(self) -> Vec<Ack> {
        assert_eq!(self.error, None);
        self.acks
    }

    /// None of them is.
    pub(crate) fn refused(self) -> PublishError {
        assert!(
            self.acks.is_empty(),
            "{} were acknowledged, {:?} first",
            self.acks.len(),
            self.acks[0]
        );
        self.error.expect("an error")
    }
}

/// One publisher; it connects again after a error.
pub(crate) struct Publisher {
    url: String,
    way: Way,
    http: reqwest::Client,
    grpc: Option<GrpcClient>,
}

type Acks = Vec<Ack>;

impl Publisher {
    pub(crate) fn new(way: Way, url: &str) -> Self {
        Publisher {
            url: url.to_owned(),
            way,
            http: secure::http_client(url),
            grpc: None,
        }
    }

    /// Publishes them in order. A batch where the way has batches.
    pub(crate) async fn publish(&mut self, drafts: &[Draft]) -> Outcome {
        let mut acks = Vec::new();
        let publishing = async {
            match self.way {
                Way::Events => self.events(drafts, &mut acks).await,
                Way::Topics => self.topics(drafts, &mut acks).await,
                Way::Ndjson => self.ndjson(drafts, &mut acks).await,
                Way::Publish => self.unary(drafts, &mut acks).await,
                Way::PublishStream => self.stream(drafts, &mut acks).await,
            }
        };
        let done = tokio::time::timeout(PATIENCE, publishing)
            .await
            .expect("an answer in time");
        if done.is_err() {
            self.grpc = None;
        }
        Outcome {
            acks,
            error: done.err(),
        }
    }

    async fn events(&self, drafts: &[Draft], acks: &mut Acks) -> Result<(), PublishError> {
        let request = self.http.post(format!("{}/v1/events", self.url));
        if let [draft] = drafts {
            acks.push(ack(
                &json_of(request.json(&draft.object()).send().await).await?
            ));
            return Ok(());
        }
        let batch: Vec<Value> = drafts.iter().map(Draft::object).collect();
        let answer = json_of(request.json(&batch).send().await).await?;
        let answers = answer["events"].as_array().expect("one entry an event");
        assert_eq!(answers.len(), drafts.len());
        acks.extend(answers.iter().map(ack));
        assert_eq!(
            (&answer["first_vid"], &answer["last_vid"]),
            (&answers[0]["vid"], &answers[drafts.len() - 1]["vid"])
        );
        Ok(())
    }

    async fn topics(&self, drafts: &[Draft], acks: &mut Acks) -> Result<(), PublishError> {
        for draft in drafts {
            let request = self
                .http
                .post(format!("{}/v1/topics/{}", self.url, draft.topic));
            let request = request
                .query(&[("id", &draft.id)])
                .header("content-type", "application/json");
            acks.push(ack(
                &json_of(request.body(draft.data.clone()).send().await).await?
            ));
        }
        Ok(())
    }

    async fn ndjson(&self, drafts: &[Draft], acks: &mut Acks) -> Result<(), PublishError> {
        let body = drafts
            .iter()
            .map(|d| d.object().to_string())
            .collect::<Vec<_>>()
            .join("\n");
        let request = self
            .http
            .post(format!("{}/v1/events", self.url))
            .header("content-type", "application/x-ndjson");
        let response = answered(request.body(body).send().await).await?;
        let (mut chunks, mut text) = (response.bytes_stream(), Vec::new());
        while let Some(chunk) = chunks.next().await {
            text.extend_from_slice(&chunk.map_err(|e| broke(&e))?);
            while let Some(end) = text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let answer: Value = serde_json::from_slice(&line).expect("a line is JSON");
                if answer["error"].is_object() {
                    return Err(problem(&answer["error"]));
                }
                acks.push(ack(&answer));
            }
        }
        if acks.len() == drafts.len() {
            Ok(())
        } else {
            Err(PublishError::Broke("the answer ended early".into()))
        }
    }

    async fn client(&mut self) -> Result<&mut GrpcClient, PublishError> {
        if self.grpc.is_none() {
            let connected = grpc::connect(&self.url).await;
            self.grpc = Some(
                connected
                    .map_err(|e| PublishError::Broke(e.to_string()))?
                    .max_encoding_message_size(64 << 20),
            );
        }
        Ok(self.grpc.as_mut().expect("a client"))
    }

    async fn unary(&mut self, drafts: &[Draft], acks: &mut Acks) -> Result<(), PublishError> {
        let request = PublishRequest {
            events: drafts.iter().map(Draft::message).collect(),
        };
        let response = self
            .client()
            .await?
            .publish(request)
            .await
            .map_err(|s| status(&s))?
            .into_inner();
        assert_eq!(response.events.len(), drafts.len());
        acks.extend(acks_of(&response));
        Ok(())
    }

    async fn stream(&mut self, drafts: &[Draft], acks: &mut Acks) -> Result<(), PublishError> {
        let requests: Vec<_> = drafts
            .iter()
            .map(|d| PublishRequest {
                events: vec![d.message()],
            })
            .collect();
        let requests = tokio_stream::iter(requests);
        let mut responses = self
            .client()
            .await?
            .publish_stream(requests)
            .await
            .map_err(|s| status(&s))?
            .into_inner();
        while let Some(response) = responses.message().await.map_err(|s| status(&s))? {
            acks.extend(acks_of(&response));
        }
        if acks.len() == drafts.len() {
            Ok(())
        } else {
            Err(PublishError::Broke("the stream ended early".into()))
        }
    }
}

async fn answered(
    sent: reqwest::Result<reqwest::Response>,
) -> Result<reqwest::Response, PublishError> {
    let response = sent.map_err(|e| broke(&e))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let text = response.text().await.map_err(|e| broke(&e))?;
    Err(problem(
        &serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")),
    ))
}

async fn json_of(sent: reqwest::Result<reqwest::Response>) -> Result<Value, PublishError> {
    let text = answered(sent).await?.text().await.map_err(|e| broke(&e))?;
    Ok(serde_json::from_str(&text).expect("JSON"))
}

fn broke(error: &reqwest::Error) -> PublishError {
    PublishError::Broke(format!("{error:?}"))
}

fn problem(problem: &Value) -> PublishError {
    let text = |field: &str| problem[field].as_str().expect("a text").to_owned();
    let status = problem["status"]
        .as_u64()
        .and_then(|s| s.try_into().ok())
        .expect("a status");
    let kind = text("type");
    let slug = kind
        .strip_prefix("urn:vidette:problem:")
        .expect("a type of our own");
    PublishError::Problem(status, slug.to_owned(), text("detail"))
}

fn status(status: &tonic::Status) -> PublishError {
    // A gateway that was killed in mid-call looks like any of these.
    let broke = matches!(
        status.code(),
        Code::Unknown | Code::Internal | Code::Cancelled
    );
    let is_transport = status.code() == Code::Unavailable && status.details().is_empty();
    if broke || is_transport {
        return PublishError::Broke(format!("{status:?}"));
    }
    PublishError::Status(status.code(), status.message().to_owned())
}

fn ack(answer: &Value) -> Ack {
    Ack {
        vid: answer["vid"].as_u64().expect("a vid"),
        cursor: answer["cursor"].as_str().expect("a cursor").to_owned(),
        duplicate: answer["duplicate"].as_bool().unwrap_or(false),
    }
}

fn acks_of(response: &PublishResponse) -> Vec<Ack> {
    let ack = |e: &vidette::proto::PublishedEvent| Ack {
        vid: e.vid,
        cursor: e.cursor.clone(),
        duplicate: e.duplicate,
    };
    response.events.iter().map(ack).collect()
}
