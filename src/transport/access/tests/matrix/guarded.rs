//! A gateway that knows tokens, keys and certificates, and is asked for everything that it has.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tonic::Code;

use super::super::*;
use super::showing::{SECRET, certificate_of, good_token, key_of, show, with_token};
use super::{ALL_RIGHTS, Asks, Gives, Outcome, Shows, asked_at, asked_by_call, expected};

/// A gateway that knows keys, tokens and certificates, and gives this to everybody else.
pub(super) struct Guarded {
    table: RouteTable,
    everybody: Gives,
    requests: Vec<(String, Method)>,
    _folder: TempDir,
}

impl Guarded {
    pub(super) async fn new(everybody: Gives) -> Self {
        let folder = TempDir::new().expect("a folder");
        let secret = folder.path().join("jwt.key");
        std::fs::write(&secret, SECRET).expect("a file");
        let mut text = format!(
            "[legacy]\nwait = \"1ms\"\ntopic = \"door.1\"\n\
             [origins]\nallow = [\"https://allowed.test\"]\n\
             [auth]\nquery_parameter = \"access_token\"\ncookie = \"vidette\"\n\
             anonymous = {{ publish = {:?}, subscribe = {:?} }}\n\
             [[auth.jwt]]\nalgorithms = [\"HS256\"]\nsecret_file = {:?}\n",
            everybody.publish(),
            everybody.subscribe(),
            secret.display().to_string(),
        );
        for gives in ALL_RIGHTS {
            let digest = Sha256::digest(key_of(gives));
            let digest = digest
                .iter()
                .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            let rights = format!(
                "publish = {:?}\nsubscribe = {:?}\n",
                gives.publish(),
                gives.subscribe()
            );
            let certificate = certificate_of(gives);
            text = format!(
                "{text}[[auth.api_key]]\nname = \"{gives:?}\"\nsha256 = \"{digest}\"\n{rights}\
                 [[auth.certificate]]\nname = \"{certificate}\"\n{rights}"
            );
        }
        let config = Config::parse(&text, Overrides::default()).expect("a configuration");
        let transport = TransportConfig::of(&config, &AuthBackground::default());
        let table = table_with(&config, transport);
        let event = request(Method::POST, "/v1/events", "application/json", EVENT);
        let event = with_token(event, &good_token(Gives::Both));
        assert_eq!(answer(&table, event).await.status(), StatusCode::OK);
        Guarded {
            requests: http_requests(&table).await,
            table,
            everybody,
            _folder: folder,
        }
    }

    /// Asks for everything; gives what did not end as it has to.
    pub(super) async fn check(&self, shows: Shows, gives: Gives) -> Vec<String> {
        let mut wrong = Vec::new();
        for (path, method) in &self.requests {
            let asks = asked_at(method, path);
            let body = body_for(path);
            let ask = request(method.clone(), &asking(path), "application/json", body);
            let ask = as_cloud_event(ask);
            let answer = self.ask(ask, shows, gives).await;
            let outcome = http_outcome(&answer);
            let what = format!("{method} {path}");
            wrong.extend(self.difference(&what, asks, shows, gives, outcome));
            let is_challenged = answer.headers().contains_key(header::WWW_AUTHENTICATE);
            if (outcome == Outcome::Unauthenticated) != is_challenged {
                wrong.push(format!(
                    "{what} shows {shows:?}: challenged: {is_challenged}"
                ));
            }
        }
        for path in all_calls() {
            let answer = self.ask(call_of(&path), shows, gives).await;
            let outcome = call_outcome(&path, answer).await;
            let asks = asked_by_call(&path);
            wrong.extend(self.difference(&path, asks, shows, gives, outcome));
        }
        wrong
    }

    async fn ask(&self, mut request: Request<Body>, shows: Shows, gives: Gives) -> Response {
        let names = show(&mut request, shows, gives);
        let connection = Arc::new(ConnectionInfo {
            certificate_names: names.into_iter().map(Into::into).collect(),
            ..ConnectionInfo::plain(connection().peer)
        });
        let answer = self
            .table
            .answer(request, &connection, ListenerRules::LOCAL);
        answer.await.expect("an answer")
    }

    fn difference(
        &self,
        what: &str,
        asks: Asks,
        shows: Shows,
        gives: Gives,
        outcome: Outcome,
    ) -> Option<String> {
        let everybody = self.everybody;
        let expected = expected(asks, shows, gives, everybody);
        let is_fine = match outcome {
            // A parameter that is none of the gateway's may be refused for itself.
            Outcome::Other(400) => shows == Shows::ParameterOffTheList,
            // Pages that are not installed are missing for everybody.
            // And so are events and readers that an operator names.
            Outcome::Other(404) => {
                asks == Asks::Nothing || (asks, expected) == (Asks::Administering, Outcome::Served)
            }
            outcome => outcome == expected,
        };
        (!is_fine).then(|| {
            format!(
                "{what} asks for {asks:?} and shows {shows:?}, which gives {gives:?}, where \
                 everybody has {everybody:?}: {outcome:?} and not {expected:?}"
            )
        })
    }
}

fn http_outcome(answer: &Response) -> Outcome {
    match answer.status() {
        status if status.is_success() || status.is_redirection() => Outcome::Served,
        StatusCode::UNAUTHORIZED => Outcome::Unauthenticated,
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        other => Outcome::Other(other.as_u16()),
    }
}

fn asking(path: &str) -> String {
    let path = path.replace("{*topic}", "door.1");
    match &*path {
        "/v1/poll" | "/v1/sse" => format!("{path}?wait=0&topic=door.1"),
        "/v1/topics" | "/v1/cloudevents" => format!("{path}?topic=door.1"),
        _ => path,
    }
}

fn all_calls() -> Vec<String> {
    let sets = [
        grpc::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.into_iter().flat_map(calls_of).collect()
}

/// A request that each call can serve to its end.
fn call_of(path: &str) -> Request<Body> {
    let topic = vec!["door.1".to_owned()];
    match path.strip_prefix("/vidette.v1.EventBus/") {
        Some("Subscribe") => {
            let first = client_proto::SubscribeRequest {
                topic,
                after: "earliest".into(),
                limit: 1,
                ..Default::default()
            };
            call(path, &first)
        }
        Some("ListTopics") => {
            let doors = client_proto::ListTopicsRequest {
                topic,
                ..Default::default()
            };
            call(path, &doors)
        }
        _ => guarded_call(path).unwrap_or_else(|| call(path, &())),
    }
}

async fn call_outcome(path: &str, answer: Response) -> Outcome {
    // Those that are open may go on for ever; a refusal stands in the head.
    if asked_by_call(path) == Asks::Nothing {
        let code = answer.headers().get("grpc-status");
        return match code.map(HeaderValue::as_bytes) {
            Some(b"16") => Outcome::Unauthenticated,
            Some(b"7") => Outcome::Forbidden,
            _ => Outcome::Served,
        };
    }
    match code_of(answer).await {
        Code::Ok => Outcome::Served,
        Code::Unauthenticated => Outcome::Unauthenticated,
        Code::PermissionDenied => Outcome::Forbidden,
        other => Outcome::Other(other as u16),
    }
}
