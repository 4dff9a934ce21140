//! The pages under `clients/`, as the gateway serves them.
//!
//! Invariant: they are part of the program, so they work without internet and without files beside
//! it.

use std::io;
use std::path::{Path, PathBuf};

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::router::HttpRoute;
use super::state::AppState;
use crate::error::{Error, ErrorKind, Result};

/// A page as it is served.
struct BuiltInPage {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

macro_rules! page {
    ($path:literal, $file:literal, $content_type:expr) => {
        BuiltInPage {
            path: $path,
            content_type: $content_type,
            body: include_bytes!(concat!("../../clients/", $file)),
        }
    };
}

const HTML: &str = "text/html; charset=utf-8";
/// The page of the long-poll era names its own charset.
const HTML_WITHOUT_CHARSET: &str = "text/html";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

const PAGES: [BuiltInPage; 9] = [
    page!("/", "start/index.html", HTML),
    page!("/clients/style.css", "style.css", STYLE),
    page!("/clients/page.js", "page.js", SCRIPT),
    page!("/clients/longpoll/", "longpoll/index.html", HTML),
    page!("/clients/longpoll/comet.js", "longpoll/comet.js", SCRIPT),
    page!(
        "/clients/longpoll/prototype.html",
        "longpoll/prototype.html",
        HTML_WITHOUT_CHARSET
    ),
    page!("/clients/eventsource/", "eventsource/index.html", HTML),
    page!("/clients/eventsource/sse.js", "eventsource/sse.js", SCRIPT),
    page!("/clients/grpcurl/", "grpcurl/index.html", HTML),
];

/// Where the page of the long-poll era finds prototype.js.
const PROTOTYPE_JS: &str = "/clients/longpoll/prototype.js";

pub(super) fn routes() -> impl Iterator<Item = HttpRoute> {
    let script = (PROTOTYPE_JS.to_owned(), get(prototype_js));
    let pages = PAGES.iter().map(|page| {
        let methods = get(move || async move { serve(page) });
        (page.path.to_owned(), methods)
    });
    pages.chain([script])
}

fn serve(page: &'static BuiltInPage) -> Response {
    respond(page.content_type, page.body)
}

fn respond(content_type: &'static str, body: impl IntoResponse) -> Response {
    // A browser asks anew each time, so that a new gateway meets no page of an old one.
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (headers, body).into_response()
}

async fn prototype_js(State(state): State<AppState>) -> Result<Response> {
    // Read anew for each request, so that it can be installed while the gateway runs.
    let path: &PathBuf = &state.config.pages.prototype_js;
    match tokio::fs::read(path).await {
        Ok(script) => Ok(respond(SCRIPT, script)),
        Err(error) => Err(no_prototype_js(path, &error)),
    }
}

fn no_prototype_js(path: &Path, error: &io::Error) -> Error {
    let path = path.display();
    let detail = format!(
        "cannot read {path}: {error}; install Debian's libjs-prototype or set pages.prototype_js"
    );
    Error::new(ErrorKind::NotFound, detail)
}
