//! The book: what is written in two languages is the same in both, and the page of the API has
//! every address.

use std::fs;
use std::path::{Path, PathBuf};

const CHINESE: &str = "docs/zh";

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All pages below a folder.
fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                pages_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Pages in Chinese, each with the English one.
fn pairs() -> Vec<[PathBuf; 2]> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of = |page: PathBuf| {
        let name = page.strip_prefix(root.join(CHINESE)).expect("below it");
        let english = match name.to_str() {
            Some("README.md") => root.join("README.md"),
            _ => root.join("docs").join(name),
        };
        [english, page]
    };
    let pages = pages_below(&root.join(CHINESE));
    pages.into_iter().map(of).collect()
}

/// What has to be the same in both languages.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// A heading, by its level.
    Heading(usize),
    /// A line of a block of code, without its comment.
    Code(String),
    /// A row of a table, by the number of its cells.
    Row(usize),
}

fn parts(page: &str) -> Vec<Part> {
    let mut is_code = false;
    let of = |line: &str| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence {
            return Some(Part::Code(without_comment(line).to_owned()));
        }
        let level = line.bytes().take_while(|b| *b == b'#').count();
        match level {
            0 if line.starts_with('|') => Some(Part::Row(line.matches('|').count())),
            0 => None,
            level => Some(Part::Heading(level)),
        }
    };
    page.lines().filter_map(of).collect()
}

/// Shell, TOML and Python have comments with `#`, JavaScript with `//`.
fn without_comment(line: &str) -> &str {
    let is_begin = |at: usize| at == 0 || line[..at].ends_with(' ');
    let mut begins = ["# ", "// "]
        .into_iter()
        .flat_map(|mark| line.match_indices(mark));
    let cut = begins.find(|(at, _)| is_begin(*at));
    let code = cut.map_or(line, |(at, _)| &line[..at]);
    code.trim_end()
}

#[test]
fn both_languages_have_the_same_headings_tables_and_code() {
    let pairs = pairs();
    assert!(pairs.len() >= 7, "only {} pages", pairs.len());
    for [english, chinese] in pairs {
        let shown = chinese.display();
        let (expected, found) = (parts(&read(&english)), parts(&read(&chinese)));
        assert!(expected.len() > 10, "{} is empty", english.display());
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(found, expected, "{shown}");
        }
        assert_eq!(found.len(), expected.len(), "{shown} ends early or late");
    }
}

#[test]
fn comments_do_not_count_and_everything_else_does() {
    let english = "# A\n```sh\n# say\ncurl x  # it\n```\n| a | b |\n";
    let chinese = "# 甲\n```sh\n# 说\ncurl x  # 它\n```\n| 甲 | 乙 |\n";
    assert_eq!(parts(english), parts(chinese));
    for other in ["```sh\ncurl y\n```", "```toml", "## A", "| a |"] {
        assert_ne!(
            parts(english),
            parts(&format!("{english}{other}\n")),
            "{other}"
        );
    }
    let url = "curl http://127.0.0.1:8080/#a";
    assert_eq!(without_comment(url), url);
}

#[test]
fn the_page_of_the_api_has_every_address_of_the_description() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = read(&docs.join("api.md"));
    let described = read(&docs.join("openapi.json"));
    let described: serde_json::Value = serde_json::from_str(&described).expect("JSON");
    let paths = described["paths"].as_object().expect("paths");
    for path in paths.keys().filter(|path| !path.starts_with("/admin/")) {
        let is_named = ["GET", "POST"].map(|method| page.contains(&format!("`{method} {path}`")));
        assert!(is_named.contains(&true), "docs/api.md lacks {path}");
    }
}
