//! The book as it is served: every link of every page leads somewhere, and every page is found.

use std::collections::HashSet;

use super::*;

/// The values of an attribute in a page.
fn values<'p>(page: &'p str, attribute: &str) -> impl Iterator<Item = &'p str> {
    let begins = format!(" {attribute}=\"");
    let parts: Vec<_> = page.split(&begins).skip(1).collect();
    parts.into_iter().filter_map(|part| part.split('"').next())
}

/// A relative link of a document, as a path below the root of the book.
fn resolved(path: &str, link: &str) -> Option<String> {
    let mut steps: Vec<_> = path.split('/').collect();
    steps.pop();
    for step in link.split('/') {
        match step {
            ".." => drop(steps.pop()?),
            step => steps.push(step),
        }
    }
    Some(steps.join("/"))
}

#[test]
fn every_link_of_the_book_leads_to_a_page_and_to_a_heading_of_it() {
    let mut links = 0;
    for page in DOCUMENTS.iter().filter(|it| it.content_type == HTML) {
        let text = page.text.as_str();
        assert!(text.contains("<h1"), "{} has no heading", page.path);
        let targets = values(text, "href").chain(values(text, "src"));
        for link in targets.filter(|link| !link.contains(':')) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            // What is above the book is tested where it is served.
            let Some(to) = resolved(&page.path, file) else {
                continue;
            };
            let to = if file.is_empty() { &page.path } else { &to };
            let to = document(to).unwrap_or_else(|| panic!("{}: {link}", page.path));
            let is_named = values(&to.text, "id").any(|id| id == anchor);
            assert!(anchor.is_empty() || is_named, "{}: {link}", page.path);
            links += 1;
        }
    }
    assert!(links > 1000, "only {links} links have been found");
}

#[test]
fn every_page_is_in_the_contents_once_and_in_the_search() {
    let languages = [Language::English, Language::Chinese];
    let chapters = languages.map(contents::chapters).into_iter().flatten();
    let mut listed = HashSet::new();
    for chapter in chapters {
        assert!(listed.insert(chapter.path), "{} twice", chapter.path);
    }
    let written = DOCS.iter().map(|(path, _)| *path);
    let written: HashSet<_> = written.filter(|path| *path != CONTENTS).collect();
    assert_eq!(listed, written, "docs/SUMMARY.md has all pages of docs/");

    let found = languages.map(search::index).concat();
    for path in &written {
        assert!(found.contains(&format!("[\"{path}\",")), "{path}");
    }
    assert!(found.contains("[\"contract/errors.md\",\""));
}

#[test]
fn a_folder_is_its_first_page() {
    let path = |asked: &str| document(asked).map(|found| found.path.as_str());
    assert_eq!(path(""), Some("index.md"));
    assert_eq!(path("zh/"), Some("zh/README.md"));
    assert_eq!(path("contract/"), None);
}

#[test]
fn an_address_of_before_leads_to_that_of_today() {
    for (before, today) in [
        ("/clients/docs", "../docs/"),
        ("/clients/docs/", "../../docs/"),
        ("/clients/docs/a/b.md", "../../../docs/a/b.md"),
    ] {
        let answer = moved(before);
        assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(answer.headers()[header::LOCATION], today);
    }
}
