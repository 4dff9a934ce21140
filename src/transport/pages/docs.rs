//! The documentation, as it is in the program: the files under `docs/`, made into pages.
//!
//! Invariant: a link leads to a page that is here, or to another site; what is neither is text.

use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::IntoResponse as _;
use axum::routing::get;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::security::{PageSecurity, ScriptRules};
use super::text_page::{escaped, text_page};
use super::{HTML, nothing_at, to_folder};
use crate::transport::router::HttpRoute;
use crate::transport::state::AppState;

// `DOCS`: the path below docs/ and the text of each file.
include!(concat!(env!("OUT_DIR"), "/docs.rs"));

const INDEX: &str = "/clients/docs/";

/// A document as a page, made when somebody asks for it.
struct Document {
    path: &'static str,
    title: &'static str,
    page: LazyLock<String, Box<dyn FnOnce() -> String + Send + Sync>>,
}

static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    let documents = DOCS.iter().map(|(path, text)| Document {
        path,
        title: title(path, text),
        page: LazyLock::new(Box::new(move || render(path, text))),
    });
    documents.collect()
});

pub(super) fn routes(security: &PageSecurity) -> [HttpRoute; 3] {
    let headers = security.headers(HTML, "", ScriptRules::Strict);
    let of_index = headers.clone();
    let index = get(move || {
        let headers = of_index.clone();
        async move { (headers, index()) }
    });
    let document = get(
        move |State(state): State<AppState>,
              method: Method,
              asked: HeaderMap,
              uri: Uri,
              Path(path): Path<String>| {
            let headers = headers.clone();
            async move {
                match DOCUMENTS.iter().find(|document| document.path == path) {
                    Some(document) => (headers, document.page.as_str()).into_response(),
                    None => nothing_at(&state.config.pages, &method, &asked, uri.path()),
                }
            }
        },
    );
    let name = INDEX.trim_end_matches('/');
    [
        (INDEX.to_owned(), index),
        (format!("{INDEX}{{*path}}"), document),
        (name.to_owned(), to_folder(name)),
    ]
}

fn index() -> String {
    let mut list = String::from("<h1>Documentation</h1><ul class=\"links\">");
    for Document { path, title, .. } in DOCUMENTS.iter() {
        let title = escaped(title);
        let entry = format!("<li><a href=\"{path}\">{title}</a><span>docs/{path}</span></li>");
        list.push_str(&entry);
    }
    list.push_str("</ul>");
    text_page("Documentation", INDEX, &list)
}

/// What the first heading says.
fn title(path: &'static str, text: &'static str) -> &'static str {
    let heading = text.lines().find_map(|line| line.strip_prefix("# "));
    heading.unwrap_or(path)
}

fn render(path: &'static str, text: &'static str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut events: Vec<_> = Parser::new_ext(text, options).collect();
    name_headings(&mut events);
    link_within(path, &mut events);
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter());
    text_page(title(path, text), &format!("{INDEX}{path}"), &body)
}

/// Gives each heading the name that links use for it.
fn name_headings(events: &mut [Event<'_>]) {
    let is_heading = |event: &Event<'_>| matches!(event, Event::Start(Tag::Heading { .. }));
    for at in 0..events.len() {
        if !is_heading(&events[at]) {
            continue;
        }
        let texts = events[at..].iter();
        let within = texts.take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
        let text: String = within.filter_map(text_of).collect();
        if let Event::Start(Tag::Heading { id, .. }) = &mut events[at] {
            *id = Some(slug(&text).into());
        }
    }
}

fn text_of<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    }
}

/// As GitHub makes it of a heading.
fn slug(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Makes text of each link that leads to a file that is not served.
fn link_within(path: &str, events: &mut Vec<Event<'_>>) {
    let mut is_dropped = false;
    events.retain_mut(|event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => {
            let target = target(path, dest_url);
            is_dropped = target.is_none();
            if let Some(target) = target {
                *dest_url = CowStr::from(target);
            }
            !is_dropped
        }
        Event::End(TagEnd::Link) => !is_dropped,
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => false,
        _ => true,
    });
}

/// Where a link of a document leads to; none where nothing is served there.
fn target(path: &str, link: &str) -> Option<String> {
    if link.starts_with('#') || link.contains("://") {
        return Some(link.to_owned());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let mut folders: Vec<_> = path.split('/').collect();
    folders.pop();
    let mut steps = folders.clone();
    for step in file.split('/') {
        match step {
            // Above docs/ is the whole project, of which nothing else is here.
            ".." => drop(steps.pop()?),
            "." | "" => {}
            step => steps.push(step),
        }
    }
    let named = steps.join("/");
    let is_served = DOCS.iter().any(|(served, _)| *served == named);
    let up = "../".repeat(folders.len());
    let anchor = if anchor.is_empty() {
        String::new()
    } else {
        format!("#{anchor}")
    };
    is_served.then(|| format!("{up}{named}{anchor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_a_page_and_its_links_lead_to_pages() {
        assert!(
            DOCUMENTS
                .iter()
                .any(|document| document.path == "contract.md")
        );
        for document in DOCUMENTS.iter() {
            let page = document.page.as_str();
            assert!(page.contains("<h1"), "{} has no heading", document.path);
            assert!(!page.contains("README.md\""), "{}", document.path);
        }
        assert_eq!(target("proxies.md", "../README.md"), None);
        assert_eq!(target("proxies.md", "history.png"), None);
        let within = target("contract/errors.md", "../limits.md#a");
        assert_eq!(within.as_deref(), Some("../limits.md#a"));
        assert_eq!(slug("What *is* `a.b`, then?"), "what-is-ab-then");
    }
}
