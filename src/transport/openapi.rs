//! `/openapi.json`: what the addresses of the gateway take and answer (OpenAPI 3.1).
//!
//! `docs/openapi.json` is written by hand. What the gateway knows better is filled in here: its
//! version, the path of the legacy page, and which problems each operation may answer with.
//! Invariant: the routes and their parameters are those of the document; a test compares them.

use axum::http::{HeaderValue, header};
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::json::to_json;
use super::problem::error_face;
use super::state::AppState;
use crate::error::ErrorKind;

const WRITTEN: &str = include_str!("../../docs/openapi.json");
/// Where the legacy page is unless the configuration moves it.
const LEGACY: &str = "/backend.php";

/// The parameters of all operations of a path.
pub(super) const PARAMETERS: &str = "parameters";

/// What each kind of operation may answer instead of what was asked for; `x-problems` names it.
const ANY: &[ErrorKind] = &[
    ErrorKind::BadRequest,
    ErrorKind::WrongHost,
    ErrorKind::Internal,
];
const OF_CALLERS: &[ErrorKind] = &[
    ErrorKind::Unauthenticated,
    ErrorKind::Forbidden,
    ErrorKind::KeysUnavailable,
    ErrorKind::OutOfMemory,
    ErrorKind::Closing,
    ErrorKind::Behind,
];
const OF_READERS: &[ErrorKind] = &[
    ErrorKind::Gap,
    ErrorKind::Busy,
    ErrorKind::Locked,
    ErrorKind::Broken,
];
/// What passes by itself is a stream that ends.
const OF_STREAMS: &[ErrorKind] = &[
    ErrorKind::Unauthenticated,
    ErrorKind::Forbidden,
    ErrorKind::Gap,
];
const OF_PUBLISHERS: &[ErrorKind] = &[
    ErrorKind::TooLarge,
    ErrorKind::UnsupportedEncoding,
    ErrorKind::UnsupportedMediaType,
    ErrorKind::Busy,
    ErrorKind::Locked,
    ErrorKind::Broken,
    ErrorKind::StorageFull,
    ErrorKind::ReadOnly,
];
const OF_OPERATORS: &[ErrorKind] = &[
    ErrorKind::NotFound,
    ErrorKind::TooLarge,
    ErrorKind::Unsupported,
    ErrorKind::Locked,
    ErrorKind::Broken,
];
const OF_READINESS: &[ErrorKind] = &[
    ErrorKind::Closing,
    ErrorKind::Behind,
    ErrorKind::Locked,
    ErrorKind::Broken,
    ErrorKind::StorageFull,
];

/// The route of the document.
pub(super) fn route(legacy_path: &str) -> MethodRouter<AppState> {
    let document = Bytes::from(to_json(&document(legacy_path)));
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    get(async move || (headers, document).into_response())
}

/// The document of a gateway with its legacy page at this path.
pub(super) fn document(legacy_path: &str) -> Value {
    let mut document: Value = serde_json::from_str(WRITTEN).expect("a test reads it");
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let shared = document["components"].clone();
    let components = document["components"].as_object_mut();
    components
        .expect("an object")
        .retain(|name, _| !matches!(&**name, "x-operations" | "pathItems"));

    let written = document["paths"].take();
    let mut paths = Map::new();
    for (path, item) in written.as_object().expect("an object") {
        let path = if path == LEGACY { legacy_path } else { path };
        paths.insert(path.to_owned(), path_item(item, &shared));
    }
    document["paths"] = paths.into();
    document
}

/// The operations of a path, each of them whole.
fn path_item(written: &Value, shared: &Value) -> Value {
    let mut item = match referred(written, shared) {
        Some(shared) => shared.clone(),
        None => written.clone(),
    };
    if let Some(id) = written.get("x-operation-id") {
        item["get"]["operationId"] = id.clone();
    }
    for (name, operation) in item.as_object_mut().expect("an object") {
        // Those of the path stand beside its operations.
        if name != PARAMETERS {
            *operation = self::operation(operation, shared);
        }
    }
    item
}

fn operation(written: &Value, shared: &Value) -> Value {
    let mut operation = referred(written, shared).unwrap_or(written).clone();
    let id = written["operationId"].clone();
    operation["operationId"] = id;
    let fields = operation.as_object_mut().expect("an object");
    let problems = fields.remove("x-problems");
    let problems = problems.as_ref().and_then(Value::as_str);
    let kinds = problem_kinds(problems.expect("each operation has problems"));
    for kind in kinds {
        add_problem(&mut operation["responses"], kind);
    }
    operation
}

/// What `$ref` stands for.
fn referred<'s>(written: &Value, shared: &'s Value) -> Option<&'s Value> {
    let reference = written.get("$ref")?.as_str()?;
    shared.pointer(reference.strip_prefix("#/components")?)
}

fn problem_kinds(problems: &str) -> Vec<ErrorKind> {
    let more: &[&[ErrorKind]] = match problems {
        "asking" | "looking" => &[OF_CALLERS],
        "administering" => &[OF_CALLERS, OF_OPERATORS],
        "reading" => &[OF_CALLERS, OF_READERS],
        "streaming" => &[OF_STREAMS],
        "publishing" => &[OF_CALLERS, OF_PUBLISHERS],
        "readiness" => &[OF_READINESS],
        _ => &[],
    };
    [ANY, &more.concat()].concat()
}

/// Adds a kind of problem to the answers with its status.
fn add_problem(answers: &mut Value, kind: ErrorKind) {
    let face = error_face(kind);
    let answer = &mut answers[face.http_status.to_string()];
    let meaning = format!("{} (`{}`)", face.title, face.slug);
    *answer = match answer["description"].as_str() {
        Some(others) => {
            let mut answer = answer.clone();
            answer["description"] = format!("{others}; {meaning}").into();
            answer
        }
        None => problem_answer(&meaning),
    };
    if face.retry_after_s.is_some() {
        answer["headers"]["Retry-After"] = reference("headers/RetryAfter");
    }
    if kind == ErrorKind::Unauthenticated {
        answer["headers"]["WWW-Authenticate"] = reference("headers/Challenge");
    }
}

fn problem_answer(meaning: &str) -> Value {
    let schema = reference("schemas/Problem");
    json!({
        "description": meaning,
        "content": { "application/problem+json": { "schema": schema } },
    })
}

fn reference(to: &str) -> Value {
    json!({ "$ref": format!("#/components/{to}") })
}
