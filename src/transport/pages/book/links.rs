//! Where links of a page lead: to other pages and pictures of the book, or to other sites.

use pulldown_cmark::{CowStr, Event, Tag, TagEnd};

use super::{DOCS, PICTURES};

/// Served at the gateway's root rather than in the book.
const OPENAPI: &str = "openapi.json";

/// Makes text of each link, and nothing of each picture, that leads to a file that is not served.
pub(super) fn link_within(path: &str, events: &mut Vec<Event<'_>>) {
    let mut is_dropped = false;
    events.retain_mut(|event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            let target = target(path, dest_url);
            is_dropped = target.is_none();
            if let Some(target) = target {
                *dest_url = CowStr::from(target);
            }
            !is_dropped
        }
        Event::End(TagEnd::Link | TagEnd::Image) => !is_dropped,
        _ => true,
    });
}

/// Where a link of a document leads to; none where nothing is served there.
pub(super) fn target(path: &str, link: &str) -> Option<String> {
    if link.starts_with('#') || link.contains("://") {
        return Some(link.to_owned());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let mut folders: Vec<_> = path.split('/').collect();
    folders.pop();
    let up = "../".repeat(folders.len());
    let mut steps = folders;
    for step in file.split('/') {
        match step {
            // Above docs/ is the whole project, of which nothing else is here.
            ".." => drop(steps.pop()?),
            "." | "" => {}
            step => steps.push(step),
        }
    }
    let named = steps.join("/");
    if named == OPENAPI {
        return Some(format!("{up}../{OPENAPI}"));
    }
    let mut served = DOCS.iter().chain(PICTURES);
    let is_served = served.any(|(served, _)| *served == named);
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
    fn links_lead_to_what_is_served() {
        assert_eq!(target("proxies.md", "../README.md"), None);
        assert_eq!(target("proxies.md", "history.png"), None);
        let is = |path, link, expected| {
            assert_eq!(target(path, link).as_deref(), Some(expected), "{link}");
        };
        is("contract/errors.md", "../limits.md#a", "../limits.md#a");
        is("contract.md", "openapi.json", "../openapi.json");
        is("performance.md", "curves/sse-100.svg", "curves/sse-100.svg");
        is("a.md", "https://a.test/b.md", "https://a.test/b.md");
    }
}
