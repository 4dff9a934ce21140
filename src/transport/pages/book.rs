//! The documentation, as it is in the program: the files under `docs/`, as one book at `/docs/`.
//!
//! Invariants:
//! - a link leads to a page that is here, or to another site; what is neither is text;
//! - `docs/SUMMARY.md` is the contents: it orders the pages, and `mdbook build` renders the same.

mod contents;
mod frame;
mod links;
mod markdown;
mod search;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::security::{PageSecurity, ScriptRules};
use super::text_page::root_from;
use super::{HTML, nothing_at, to_folder};
use crate::transport::router::HttpRoute;
use crate::transport::state::AppState;

// `DOCS` and `PICTURES`: the path below docs/ and the text of each file.
include!(concat!(env!("OUT_DIR"), "/docs.rs"));

const ROOT: &str = "/docs/";
/// Where the documentation was before it was a book.
const FORMER_ROOT: &str = "/clients/docs/";
/// What the book begins with, in each folder that has a first page of its own.
const FIRST_PAGES: [&str; 2] = ["index.md", "README.md"];
const CONTENTS: &str = "SUMMARY.md";

const JSON: &str = "application/json";
const PICTURE: &str = "image/svg+xml";

/// A language that pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    English,
    Chinese,
}

impl Language {
    const fn folder(self) -> &'static str {
        match self {
            Language::English => "",
            Language::Chinese => "zh/",
        }
    }

    fn of(path: &str) -> Self {
        if path.starts_with(Language::Chinese.folder()) {
            Language::Chinese
        } else {
            Language::English
        }
    }
}

/// What is served below `ROOT`; a page is made when somebody asks for it.
struct Document {
    path: String,
    content_type: &'static str,
    text: LazyLock<String, Box<dyn FnOnce() -> String + Send + Sync>>,
}

impl Document {
    fn new(
        path: impl Into<String>,
        content_type: &'static str,
        make: impl FnOnce() -> String + Send + Sync + 'static,
    ) -> Self {
        Document {
            path: path.into(),
            content_type,
            text: LazyLock::new(Box::new(make)),
        }
    }
}

static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let written = DOCS.iter().filter(|(path, _)| *path != CONTENTS);
    let pages = written
        .map(|(path, text)| Document::new(*path, HTML, move || frame::framed_page(path, text)));
    let pictures = PICTURES
        .iter()
        .map(|(path, text)| Document::new(*path, PICTURE, || (*text).to_owned()));
    let indexes = [Language::English, Language::Chinese].map(|language| {
        let path = format!("{}search.json", language.folder());
        Document::new(path, JSON, move || search::index(language))
    });
    pages.chain(pictures).chain(indexes).collect()
});

/// The document at a path below `ROOT`, or the first page of a folder.
fn document(path: &str) -> Option<&'static Document> {
    let at = |path: &str| DOCUMENTS.iter().find(|document| document.path == path);
    let is_folder = path.is_empty() || path.ends_with('/');
    if !is_folder {
        return at(path);
    }
    let firsts = FIRST_PAGES.iter();
    firsts
        .map(|name| format!("{path}{name}"))
        .find_map(|path| at(&path))
}

pub(super) fn routes(security: &PageSecurity) -> Vec<HttpRoute> {
    let security = security.clone();
    let of_root = security.clone();
    let root = get(move |State(state), method, asked, uri| {
        let answer = answer("", &of_root, (&state, &method, &asked, &uri));
        async move { answer }
    });
    let below = get(
        move |State(state), method, asked, uri, Path(path): Path<String>| {
            let answer = answer(&path, &security, (&state, &method, &asked, &uri));
            async move { answer }
        },
    );
    let former = || get(async |uri: Uri| moved(uri.path()));
    let name = ROOT.trim_end_matches('/');
    vec![
        (ROOT.to_owned(), root),
        (format!("{ROOT}{{*path}}"), below),
        (name.to_owned(), to_folder(name)),
        (FORMER_ROOT.to_owned(), former()),
        (format!("{FORMER_ROOT}{{*path}}"), former()),
        (FORMER_ROOT.trim_end_matches('/').to_owned(), former()),
    ]
}

fn answer(
    path: &str,
    security: &PageSecurity,
    (state, method, asked, uri): (&AppState, &Method, &HeaderMap, &Uri),
) -> Response {
    let Some(document) = document(path) else {
        return nothing_at(&state.config.pages, method, asked, uri.path());
    };
    let headers = security.headers(document.content_type, "", ScriptRules::Strict);
    (headers, document.text.as_str()).into_response()
}

/// A redirect from an address that a page had before, whatever a proxy has put before it.
fn moved(path: &str) -> Response {
    let rest = path.strip_prefix(FORMER_ROOT).unwrap_or_default();
    let location = format!("{}docs/{rest}", root_from(path));
    let mut headers = HeaderMap::new();
    let location = HeaderValue::try_from(location).ok();
    headers.extend(location.map(|location| (header::LOCATION, location)));
    (StatusCode::PERMANENT_REDIRECT, headers, Body::empty()).into_response()
}
