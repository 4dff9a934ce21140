//! An address with nothing behind it: a small page for a person, a problem for a program.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::HTML;
use super::security::{PageSecurity, ScriptRules};
use super::text_page::{escaped, root_from, text_page};
use crate::config::PagesConfig;
use crate::cursor::shorten;
use crate::error::{Error, ErrorKind};

/// The answer at an address that is none.
pub(in crate::transport) fn nothing_at(
    config: &PagesConfig,
    method: &Method,
    headers: &HeaderMap,
    path: &str,
) -> Response {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if !is_read || !wants_a_page(headers) {
        return problem(config, path).into_response();
    }
    let body = text_page("Nothing here", path, &body(config, path));
    let mut headers = PageSecurity::of(config).headers(HTML, "", ScriptRules::Strict);
    let no_store = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, no_store);
    (StatusCode::NOT_FOUND, headers, body).into_response()
}

/// Does a person ask, by a browser? Programs take anything, or name JSON.
fn wants_a_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|line| line.to_str().ok());
    accepted.any(|line| line.contains("text/html"))
}

fn problem(config: &PagesConfig, path: &str) -> Error {
    let path = shorten(path);
    let hint = if config.start {
        "; the start page / shows what there is"
    } else {
        ""
    };
    Error::new(
        ErrorKind::NotFound,
        format!("there is nothing at {path}{hint}"),
    )
}

fn body(config: &PagesConfig, path: &str) -> String {
    let (root, shown) = (root_from(path), escaped(&shorten(path)));
    let link = |path: &str, name: &str, what: &str| {
        format!("<li><a href=\"{root}{path}\">{name}</a><span>{what}</span></li>")
    };
    let mut links = Vec::new();
    if config.start {
        links.push(link("", "Start page", "live events"));
    }
    if config.clients {
        links.push(link("clients/", "Clients", "pages that read the bus"));
        let what = "how to read, publish and run it";
        links.push(link("docs/", "Documentation", what));
    }
    let links = links.concat();
    format!(
        "<h1>Nothing here</h1><p>There is nothing at <code>{shown}</code> on this gateway.</p>\
         <ul class=\"links\">{links}</ul>"
    )
}
