//! The OpenAPI document beside the routes: neither has what the other lacks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::config::OWN_PARAMETERS;
use crate::limits;
use crate::transport::admin;
use crate::transport::openapi::{PARAMETERS, document};

/// The document's operations but for OPTIONS, which every path has, as method and path.
fn operations(document: &Value) -> Vec<(Method, String, &Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let named = item.as_object().expect("operations").iter();
        for (method, operation) in named.filter(|(name, _)| *name != PARAMETERS) {
            let method = method.to_uppercase().parse().expect("a method");
            if method != Method::OPTIONS {
                operations.push((method, path.clone(), operation));
            }
        }
    }
    operations
}

#[tokio::test]
async fn each_route_is_in_the_document_and_each_operation_of_it_has_a_route() {
    let (document, table) = (document("/backend.php"), table(Caller::anonymous()));
    let documented: BTreeSet<_> = operations(&document)
        .iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let mut routed = BTreeSet::new();
    let of_admin = admin::routes().filter(|(path, _)| path.starts_with(admin::API));
    for (path, _) in http_routes("/backend.php").chain(of_admin) {
        for method in methods(&table, &target(&path)).await {
            // Wherever there is GET, there is HEAD.
            if method != Method::HEAD {
                let path = path.replace("{*topic}", "{topic}");
                routed.insert(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(
        documented, routed,
        "write new routes into docs/openapi.json"
    );
}

/// The names of an operation's query parameters.
fn query_parameters(document: &Value, operation: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let reference = parameter["$ref"].as_str();
        let parameter = match reference.and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => document.pointer(pointer).expect(pointer),
            None => parameter,
        };
        if parameter["in"] == "query" {
            names.insert(parameter["name"].as_str().expect("a name").to_owned());
        }
    }
    names
}

/// Does the address refuse this parameter because it does not know it, whatever it is sent?
async fn is_unknown(table: &RouteTable, method: &Method, path: &str, name: &str) -> bool {
    let target = target(path).replace("{topic}", "door.1");
    let separator = if target.contains('?') { '&' } else { '?' };
    let target = format!("{target}{separator}{name}=");
    for content_type in ["application/json", "application/cloudevents+json"] {
        let ask = request(method.clone(), &target, content_type, EVENT);
        let answer = answer(table, ask).await;
        if answer.status() != StatusCode::BAD_REQUEST {
            return false;
        }
        let refusal = text_of(answer).await;
        if !refusal.contains(&format!("unknown parameter \\\"{name}\\\"")) {
            return false;
        }
    }
    true
}

#[tokio::test]
async fn each_parameter_of_the_document_is_known_and_each_that_is_known_is_in_it() {
    let (document, table) = (document("/backend.php"), table(Caller::anonymous()));
    for (method, path, operation) in operations(&document) {
        let documented = query_parameters(&document, operation);
        if !is_unknown(&table, &method, &path, "nonsense").await {
            // Nobody looks whether a parameter is known.
            let all_known = documented
                .iter()
                .all(|name| OWN_PARAMETERS.contains(&&**name));
            assert!(all_known, "{method} {path}: {documented:?}");
            continue;
        }
        let mut known = BTreeSet::new();
        for name in OWN_PARAMETERS {
            if !is_unknown(&table, &method, &path, name).await {
                known.insert(name.to_owned());
            }
        }
        assert_eq!(documented, known, "{method} {path}");
    }
}

#[test]
fn the_document_has_the_bounds_of_the_gateway_and_follows_its_legacy_page() {
    let document = document("/comet");
    let at = |pointer: &str| {
        let found = document.pointer(pointer);
        found
            .unwrap_or_else(|| panic!("{pointer}"))
            .as_u64()
            .expect("a number")
    };
    let schemas = "/components/schemas";
    for (pointer, bound) in [
        ("/Topic/maxLength", limits::MAX_TOPIC_BYTES as u64),
        ("/EventType/maxLength", limits::MAX_TYPE_BYTES as u64),
        ("/EventId/maxLength", limits::MAX_ID_BYTES as u64),
        (
            "/NewEvent/properties/headers/maxProperties",
            limits::MAX_HEADERS as u64,
        ),
    ] {
        assert_eq!(at(&format!("{schemas}{pointer}")), bound, "{pointer}");
    }
    let parameters = "/components/parameters";
    let limit = at(&format!("{parameters}/limit/schema/maximum"));
    assert_eq!(limit, u64::from(limits::MAX_LIMIT));
    let paths = &document["paths"];
    assert!(paths.get("/backend.php").is_none());
    assert_eq!(paths["/comet"]["get"]["operationId"], "legacyPage");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn nothing_in_the_document_refers_to_what_is_not_there() {
    fn check(document: &Value, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect(reference);
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                fields.values().for_each(|field| check(document, field));
            }
            Value::Array(items) => items.iter().for_each(|item| check(document, item)),
            _ => {}
        }
    }
    let document = document("/backend.php");
    check(&document, &document);
}
