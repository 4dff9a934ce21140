//! The pages under `clients/` and the book under `docs/`, as the gateway serves them.
//!
//! Invariants:
//! - they are part of the program, so they work without internet and without files beside it;
//! - the client library is served as it lies in its package, module by module: nothing is built;
//! - what the configuration switches off is at no address.

mod book;
mod missing;
mod security;
mod text_page;

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::compression;
use super::router::HttpRoute;
use super::state::AppState;
use crate::config::PagesConfig;
use crate::error::{Error, ErrorKind, Result};
pub(super) use missing::nothing_at;
use security::ScriptRules;
pub(super) use security::{PageSecurity, of_own_files};

// `MODULES`: the name and the text of each module of `@vidette/client`.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// A page as it is served.
struct BuiltInPage {
    part: Part,
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

/// What is switched on or off together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Start,
    Clients,
    /// What pages are made of.
    Shared,
}

macro_rules! page {
    ($part:ident, $path:literal, $file:literal, $content_type:expr) => {
        BuiltInPage {
            part: Part::$part,
            path: $path,
            content_type: $content_type,
            body: include_str!(concat!("../../clients/", $file)),
        }
    };
}

const HTML: &str = "text/html; charset=utf-8";
/// The page of the long-poll era names its own charset.
const HTML_WITHOUT_CHARSET: &str = "text/html";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

#[rustfmt::skip] // a line for each page
const PAGES: [BuiltInPage; 13] = [
    page!(Start, "/", "start/index.html", HTML),
    page!(Shared, "/clients/style.css", "style.css", STYLE),
    page!(Shared, "/clients/page.js", "page.js", SCRIPT),
    page!(Shared, "/clients/feed.js", "feed.js", SCRIPT),
    page!(Shared, "/clients/vidette.js", "vidette.js", SCRIPT),
    page!(Shared, "/clients/longpoll/comet.js", "longpoll/comet.js", SCRIPT),
    page!(Shared, "/clients/eventsource/sse.js", "eventsource/sse.js", SCRIPT),
    page!(Clients, "/clients/book.js", "book.js", SCRIPT),
    page!(Clients, "/clients/", "index.html", HTML),
    page!(Clients, "/clients/longpoll/", "longpoll/index.html", HTML),
    page!(Clients, "/clients/longpoll/prototype.html", "longpoll/prototype.html", HTML_WITHOUT_CHARSET),
    page!(Clients, "/clients/eventsource/", "eventsource/index.html", HTML),
    page!(Clients, "/clients/grpcurl/", "grpcurl/index.html", HTML),
];

/// The page of the long-poll era: its library runs text as code.
const PROTOTYPE_PAGE: &str = "/clients/longpoll/prototype.html";
/// Where it finds that library.
const PROTOTYPE_JS: &str = "/clients/longpoll/prototype.js";

pub(super) fn routes(config: &PagesConfig) -> Vec<HttpRoute> {
    let security = PageSecurity::of(config);
    let served = PAGES.iter().filter(|page| serves(config, page.part));
    let mut routes: Vec<_> = served
        .flat_map(|page| page_routes(page, &security))
        .chain(module_routes(&security))
        .collect();
    if config.clients {
        routes.push((PROTOTYPE_JS.to_owned(), get(prototype_js)));
        routes.extend(book::routes(&security));
    }
    let compressed =
        |(path, methods): HttpRoute| (path, methods.layer(from_fn(compression::of_route)));
    routes.into_iter().map(compressed).collect()
}

fn serves(config: &PagesConfig, part: Part) -> bool {
    match part {
        Part::Start => config.start,
        Part::Clients => config.clients,
        // The page of a missing address has the style, too.
        Part::Shared => true,
    }
}

/// The page, and for one that is a folder a redirect from its name without the slash.
fn page_routes(page: &'static BuiltInPage, security: &PageSecurity) -> Vec<HttpRoute> {
    let rules = if page.path == PROTOTYPE_PAGE {
        ScriptRules::WithEval
    } else {
        ScriptRules::Strict
    };
    let headers = security.headers(page.content_type, page.body, rules);
    let methods = get(move || {
        let answer = (headers.clone(), page.body);
        async move { answer }
    });
    let mut routes = vec![(page.path.to_owned(), methods)];
    if let Some(name) = page.path.strip_suffix('/').filter(|name| !name.is_empty()) {
        routes.push((name.to_owned(), to_folder(name)));
    }
    routes
}

/// The modules that `/clients/vidette.js` names.
fn module_routes(security: &PageSecurity) -> impl Iterator<Item = HttpRoute> {
    let headers = security.headers(SCRIPT, "", ScriptRules::Strict);
    MODULES.iter().map(move |(name, text)| {
        let answer = (headers.clone(), *text);
        let methods = get(move || async move { answer.clone() });
        (format!("/clients/js/{name}"), methods)
    })
}

/// A redirect to the same name with a slash, whatever a proxy has put before it.
fn to_folder(name: &str) -> MethodRouter<AppState> {
    let name = name.rsplit('/').next().unwrap_or_default();
    let location = HeaderValue::try_from(format!("{name}/")).ok();
    get(move || {
        let location = location.clone();
        async move {
            let mut headers = HeaderMap::new();
            headers.extend(location.map(|location| (header::LOCATION, location)));
            (StatusCode::PERMANENT_REDIRECT, headers, Body::empty())
        }
    })
}

async fn prototype_js(State(state): State<AppState>) -> Result<Response> {
    // Read anew for each request, so that it can be installed while the gateway runs.
    let path: &PathBuf = &state.config.pages.prototype_js;
    match tokio::fs::read(path).await {
        Ok(script) => {
            let security = PageSecurity::of(&state.config.pages);
            let headers = security.headers(SCRIPT, "", ScriptRules::Strict);
            Ok((headers, script).into_response())
        }
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
