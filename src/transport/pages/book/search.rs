//! What `book.js` searches: the sections of all pages of a language, as one JSON document.

use super::{DOCS, Language, contents, markdown};

/// Each section as page, anchor, title of the page, heading and text.
pub(super) fn index(language: Language) -> String {
    let text_of = |path: &str| DOCS.iter().find(|(named, _)| *named == path);
    let pages = contents::chapters(language).filter_map(|chapter| text_of(chapter.path));
    let sections = pages.flat_map(|(path, text)| {
        let title = markdown::title(path, text);
        let sections = markdown::sections(text).into_iter();
        sections.map(move |section| {
            let text = section.text.split_whitespace().collect::<Vec<_>>();
            [
                (*path).to_owned(),
                section.anchor,
                title.to_owned(),
                section.heading,
                text.join(" "),
            ]
        })
    });
    serde_json::to_string(&sections.collect::<Vec<_>>()).unwrap_or_default()
}
