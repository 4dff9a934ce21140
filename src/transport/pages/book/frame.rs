//! The frame of a page of the book: contents and search beside it, its neighbours below it.

use std::fmt::Write as _;

use super::contents::{self, Chapter};
use super::markdown::{render, title};
use super::{DOCS, Language, ROOT};
use crate::transport::pages::text_page::{escaped, root_from};

const FRAME: &str = include_str!("../../../../clients/book.html");

/// What the frame says, by the name that it has there.
type Words = [(&'static str, &'static str); 9];

const ENGLISH: Words = [
    ("lang", "en"),
    ("contents-word", "Contents"),
    ("search-word", "Search"),
    ("nothing-word", "Nothing found."),
    ("clients-word", "Clients"),
    ("docs-word", "Docs"),
    ("close-word", "Close"),
    ("copy-word", "Copy"),
    ("copied-word", "Copied"),
];

const CHINESE: Words = [
    ("lang", "zh-CN"),
    ("contents-word", "目录"),
    ("search-word", "搜索"),
    ("nothing-word", "没有找到。"),
    ("clients-word", "客户端"),
    ("docs-word", "文档"),
    ("close-word", "关闭"),
    ("copy-word", "复制"),
    ("copied-word", "已复制"),
];

/// A page of the book, whole.
pub(super) fn framed_page(path: &str, text: &str) -> String {
    let address = format!("{ROOT}{path}");
    // From the page to the root of the book, which is one step below the gateway's.
    let up = "../".repeat(path.matches('/').count());
    let language = Language::of(path);
    let words = match language {
        Language::English => ENGLISH,
        Language::Chinese => CHINESE,
    };
    let mut frame = FRAME.to_owned();
    for (name, word) in words {
        frame = frame.replace(&format!("{{{name}}}"), word);
    }
    let index = format!("{}search.json", language.folder());
    let fields = [
        ("title", escaped(title(path, text))),
        ("root", root_from(&address)),
        ("up", up.clone()),
        ("index", index),
        ("other", other_language(path, &up)),
        ("contents", contents::beside(path, &up)),
        ("around", around(path, &up)),
    ];
    for (name, value) in fields {
        frame = frame.replace(&format!("{{{name}}}"), &value);
    }
    // The body comes last: braces in it stay what they are.
    frame.replacen("{body}", &render(path, text), 1)
}

/// A link to the page in the other language, or to the first one there.
fn other_language(path: &str, up: &str) -> String {
    let (counterpart, first, name, lang) = match Language::of(path) {
        Language::English => (format!("zh/{path}"), "zh/README.md", "中文", "zh-CN"),
        Language::Chinese => {
            let counterpart = path.trim_start_matches(Language::Chinese.folder());
            (counterpart.to_owned(), "index.md", "English", "en")
        }
    };
    let exists = DOCS.iter().any(|(named, _)| *named == counterpart);
    let to = if exists { &*counterpart } else { first };
    format!("<a href=\"{up}{to}\" lang=\"{lang}\">{name}</a>")
}

fn around(path: &str, up: &str) -> String {
    let mut html = String::new();
    let sides = [("prev", "\u{2190} ", ""), ("next", "", " \u{2192}")];
    for (neighbour, (side, before, behind)) in contents::around(path).into_iter().zip(sides) {
        if let Some(Chapter { title, path, .. }) = neighbour {
            let title = escaped(title);
            let _ = write!(
                html,
                "<a rel=\"{side}\" class=\"{side}\" href=\"{up}{path}\">{before}{title}{behind}</a>"
            );
        }
    }
    html
}
