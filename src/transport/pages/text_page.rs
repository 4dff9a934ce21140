//! Pages of text alone: one frame around all of them, and links that work below any proxy's path.

use std::fmt::Write as _;

/// The frame, with `{title}`, `{root}` and `{body}` in it.
const FRAME: &str = include_str!("../../../clients/text.html");

/// Steps up that are written out; an address that is deeper than any page has absolute links.
const MAX_STEPS_UP: usize = 16;

/// A page whose text is HTML already.
pub(super) fn text_page(title: &str, path: &str, body: &str) -> String {
    // The body comes last: braces in it stay what they are.
    let frame = FRAME.replace("{title}", &escaped(title));
    let frame = frame.replace("{root}", &root_from(path));
    frame.replacen("{body}", body, 1)
}

/// How links lead from an address to `/`.
pub(super) fn root_from(path: &str) -> String {
    let slashes = path.matches('/').count();
    match slashes.saturating_sub(1) {
        0 => "./".to_owned(),
        steps if steps <= MAX_STEPS_UP => "../".repeat(steps),
        _ => "/".to_owned(),
    }
}

/// A text as it stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_text_and_links_lead_to_the_root() {
        let page = text_page("a<b>", "/x/y", "<p>{root}</p>");
        assert!(page.contains("<title>a&lt;b&gt;"), "{page}");
        assert!(page.contains("href=\"../clients/style.css\""), "{page}");
        assert!(page.contains("<p>{root}</p>"), "{page}");
        for (path, root) in [
            ("/", "./"),
            ("/a", "./"),
            ("/a/", "../"),
            ("/a/b/c", "../../"),
        ] {
            assert_eq!(root_from(path), root, "{path}");
        }
        assert_eq!(root_from(&"/a".repeat(99)), "/");
    }
}
