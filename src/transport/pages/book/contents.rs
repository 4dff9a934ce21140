//! The contents of the book, as `SUMMARY.md` has them: parts with chapters, some within others.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::{CONTENTS, DOCS, Language};
use crate::transport::pages::text_page::escaped;

/// Spaces before the list item of a chapter that is within another one.
const INDENT: &str = "  ";

/// A line of the contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Part(&'static str),
    Chapter(Chapter),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chapter {
    pub(super) title: &'static str,
    pub(super) path: &'static str,
    is_within: bool,
}

static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| {
    let found = DOCS.iter().find(|(path, _)| *path == CONTENTS);
    let text = found.map_or("", |(_, text)| *text);
    // The first heading is the list's own.
    parsed(text).skip(1).collect()
});

fn parsed(text: &'static str) -> impl Iterator<Item = Line> {
    text.lines().filter_map(|line| {
        if let Some(part) = line.strip_prefix("# ") {
            return Some(Line::Part(part));
        }
        let (title, path) = line.split_once("](")?;
        Some(Line::Chapter(Chapter {
            title: title.split_once('[')?.1,
            path: path.strip_suffix(')')?,
            is_within: line.starts_with(INDENT),
        }))
    })
}

/// The pages of a language in their order.
pub(super) fn chapters(language: Language) -> impl Iterator<Item = Chapter> {
    let chapters = LINES.iter().filter_map(|line| match line {
        Line::Chapter(chapter) => Some(*chapter),
        Line::Part(_) => None,
    });
    chapters.filter(move |chapter| Language::of(chapter.path) == language)
}

/// The pages before and behind one.
pub(super) fn around(path: &str) -> [Option<Chapter>; 2] {
    let all: Vec<_> = chapters(Language::of(path)).collect();
    let Some(at) = all.iter().position(|chapter| chapter.path == path) else {
        return [None, None];
    };
    let before = at.checked_sub(1).and_then(|before| all.get(before));
    [before.copied(), all.get(at + 1).copied()]
}

/// The contents as they stand beside a page; `up` leads from there to the root of the book.
pub(super) fn beside(path: &str, up: &str) -> String {
    let language = Language::of(path);
    let mut html = String::new();
    let mut part = None;
    // Chapters within another one are shown beside that one and beside each other.
    let mut family: Vec<Chapter> = Vec::new();
    let mut lines = LINES.iter().peekable();
    while let Some(line) = lines.next() {
        match line {
            Line::Part(title) => part = Some(*title),
            Line::Chapter(chapter) if Language::of(chapter.path) == language => {
                if let Some(title) = part.take() {
                    let _ = write!(html, "<h2>{}</h2>", escaped(title));
                }
                if !chapter.is_within {
                    family.clear();
                }
                family.push(*chapter);
            }
            Line::Chapter(_) => {}
        }
        let is_whole = !matches!(lines.peek(), Some(Line::Chapter(next)) if next.is_within);
        if is_whole {
            push_family(&mut html, &std::mem::take(&mut family), path, up);
        }
    }
    html
}

/// A chapter, and those within it where one of them all is the page.
fn push_family(html: &mut String, family: &[Chapter], path: &str, up: &str) {
    let is_open = family.iter().any(|chapter| chapter.path == path);
    for chapter in family.iter().filter(|it| is_open || !it.is_within) {
        let Chapter {
            title, path: to, ..
        } = chapter;
        let title = escaped(title);
        let class = if chapter.is_within {
            " class=\"within\""
        } else {
            ""
        };
        let here = if *to == path {
            " aria-current=\"page\""
        } else {
            ""
        };
        let _ = write!(html, "<a{class} href=\"{up}{to}\"{here}>{title}</a>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_links_is_read_with_its_parts() {
        let text = "# Summary\n\n[First](a.md)\n\n# Part\n\n- [One](b.md)\n  - [Two](c/d.md)\n";
        let lines: Vec<_> = parsed(text).collect();
        let chapter = |title, path, is_within| {
            Line::Chapter(Chapter {
                title,
                path,
                is_within,
            })
        };
        let expected = [
            Line::Part("Summary"),
            chapter("First", "a.md", false),
            Line::Part("Part"),
            chapter("One", "b.md", false),
            chapter("Two", "c/d.md", true),
        ];
        assert_eq!(lines, expected);
    }
}
