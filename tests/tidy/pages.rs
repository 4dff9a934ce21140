//! Pages and citations: every chapter that is cited, every file and name of code that a guide has
//! in backticks, and every link leads somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use super::source_files;

/// Files whose words a reader may follow: code, tests, the wire contract, pages and docs.
fn texts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    let mut folders: Vec<_> = ["src", "bench", "tests", "proto", "clients", "docs"]
        .map(|name| root.join(name))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                texts.push((path, text));
            }
        }
    }
    texts
}

/// A page whose numbered chapters and items are cited.
struct CitedPage {
    /// How a citation begins, without its first letter, which may be a capital.
    named: &'static str,
    path: &'static str,
    fewest_citations: usize,
}

const CITED: &[CitedPage] = &[
    CitedPage {
        named: "ontract",
        path: "docs/contract.md",
        fewest_citations: 50,
    },
    CitedPage {
        named: "istory",
        path: "docs/history.md",
        fewest_citations: 5,
    },
];

/// What is cited behind a page's name: `2.6` of `contract §2.6`, `3` and `4` of `contract §3, §4`.
fn citations<'a>(text: &'a str, page: &CitedPage) -> Vec<&'a str> {
    let mut cited = Vec::new();
    for after in text.split(page.named).skip(1) {
        // A link to the page may stand between its name and the chapter.
        let link = format!(
            "]({}.md)",
            page.path
                .trim_start_matches("docs/")
                .trim_end_matches(".md")
        );
        let after = after.strip_prefix(&link).unwrap_or(after);
        let mut rest = after.trim_start_matches(',').trim_start();
        while let Some(chapter) = rest.strip_prefix('§') {
            let is_number = |c: char| c.is_ascii_digit() || c == '.';
            let end = chapter.find(|c| !is_number(c)).unwrap_or(chapter.len());
            cited.push(chapter[..end].trim_end_matches('.'));
            rest = chapter[end..].trim_start_matches(',').trim_start();
        }
    }
    cited
}

/// `2` is a chapter `## §2 …` of the page, and `2.6` the item `6. **…` of it.
fn has_chapter(page: &str, cited: &str) -> bool {
    let (chapter, item) = cited.split_once('.').unwrap_or((cited, ""));
    let below = page.split(&format!("\n## §{chapter} ")).nth(1);
    let below = below.and_then(|text| text.split("\n## ").next());
    below.is_some_and(|text| item.is_empty() || text.contains(&format!("\n{item}. **")))
}

#[test]
fn every_citation_leads_to_a_chapter_of_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = texts();
    for page in CITED {
        let chapters = fs::read_to_string(root.join(page.path)).expect("the page");
        let mut count = 0;
        for (path, text) in &texts {
            // This file has made-up citations.
            let in_text = if path.ends_with("tests/tidy/pages.rs") {
                Vec::new()
            } else {
                citations(text, page)
            };
            for cited in in_text {
                let shown = path.display();
                assert!(
                    has_chapter(&chapters, cited),
                    "{shown} cites §{cited}, which {} does not have",
                    page.path
                );
                count += 1;
            }
        }
        let fewest = page.fewest_citations;
        assert!(count >= fewest, "only {count} citations of {}", page.path);
    }
}

/// `ARCHITECTURE.md, "Memory per idle reader"` in a comment is a chapter of that page.
#[test]
fn every_citation_of_the_architecture_leads_to_a_chapter() {
    let page = guide("ARCHITECTURE.md");
    let mut count = 0;
    for file in source_files() {
        // A citation may go on in the next line of its comment.
        let text = file.text.replace("\n//! ", " ").replace("\n/// ", " ");
        let cited = text.split("ARCHITECTURE.md, \"").skip(1);
        for chapter in cited.filter_map(|rest| rest.split('"').next()) {
            let leads = page.contains(&format!("\n## {chapter}\n"));
            assert!(leads, "{}: {chapter:?}", file.path.display());
            count += 1;
        }
    }
    assert!(count > 0, "no citation has been found");
}

/// Pages for those who change the code: each file and each name of code in them is there.
const GUIDES: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

/// Folders that a name may begin with; within `src/` and `tests/` it may be left out.
const ROOTS: [&str; 3] = ["", "src", "tests"];

/// Words between backticks outside of blocks of code.
fn quoted_words(page: &str) -> impl Iterator<Item = &str> {
    let prose = page.split("```").step_by(2);
    prose.flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// Quoted words that are paths: with the ending of a text file or of a folder, and nothing in them
/// that a path has not.
fn named_files(page: &str) -> Vec<&str> {
    const ENDINGS: [&str; 9] = [
        ".rs", ".md", ".toml", ".proto", ".sh", ".py", ".json", ".js", "/",
    ];
    let is_path = |word: &&str| {
        let is_plain = word
            .chars()
            .all(|c| c.is_alphanumeric() || "/._-".contains(c));
        is_plain && ENDINGS.iter().any(|end| word.ends_with(end)) && !word.starts_with('/')
    };
    quoted_words(page).filter(is_path).collect()
}

/// Quoted words that are names in code, as `make_visible`, `WaiterSet` and `Bus::publish`: the last
/// part of each.
fn named_code(page: &str) -> Vec<&str> {
    let in_code = |word: &&str| {
        let is_plain = word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
        let is_type = word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.contains(|c: char| c.is_ascii_lowercase());
        let is_setting_of_tests = word.starts_with("VIDETTE_");
        is_plain && (word.contains('_') || is_type) && !is_setting_of_tests
    };
    let words = quoted_words(page).map(|word| word.trim_end_matches("()"));
    words
        .filter(in_code)
        .map(|word| word.rsplit("::").next().unwrap_or(word))
        .collect()
}

fn guide(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(name)).expect("the guide")
}

#[test]
fn every_file_that_a_guide_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for name in GUIDES {
        let page = guide(name);
        let named = named_files(&page);
        assert!(named.len() > 10, "{name} names only {} files", named.len());
        let is_missing = |file: &&&str| {
            !ROOTS
                .iter()
                .any(|below| root.join(below).join(file).exists())
        };
        missing.extend(
            named
                .iter()
                .filter(is_missing)
                .map(|file| format!("{name}: {file}")),
        );
    }
    assert!(missing.is_empty(), "no such files: {missing:#?}");
}

#[test]
fn every_name_of_code_in_a_guide_is_found_in_the_code() {
    let sources: Vec<String> = source_files().into_iter().map(|file| file.text).collect();
    let mut missing = Vec::new();
    for name in GUIDES {
        let page = guide(name);
        let named = named_code(&page);
        assert!(named.len() > 5, "{name} names only {} things", named.len());
        let is_missing = |word: &&&str| !sources.iter().any(|text| text.contains(**word));
        missing.extend(
            named
                .iter()
                .filter(is_missing)
                .map(|word| format!("{name}: {word}")),
        );
    }
    assert!(missing.is_empty(), "not in the code: {missing:#?}");
}

#[test]
fn every_test_program_has_one_row_in_the_table_of_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = guide("CONTRIBUTING.md");
    for entry in fs::read_dir(root.join("tests")).expect("the tests") {
        let path = entry.expect("an entry").path();
        let is_program = path.join("main.rs").exists() || path.is_file();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let rows = page.matches(&format!("--test {name}` |")).count();
        assert!(!is_program || rows == 1, "tests/{name} has {rows} rows");
    }
}

/// The pages of the repository, each with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "",
        "docs",
        "docs/contract",
        "docs/explanation",
        "docs/tutorial",
        "docs/zh",
        "docs/zh/contract",
        "docs/zh/tutorial",
        "clients",
        "clients/grpcurl",
    ];
    let entries = folders.map(|folder| fs::read_dir(root.join(folder)).expect("a folder"));
    let paths = entries
        .into_iter()
        .flatten()
        .map(|e| e.expect("an entry").path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|e| e == "md");
    paths
        .filter(is_page)
        .map(|path| (path.clone(), fs::read_to_string(&path).expect("a page")))
        .collect()
}

#[test]
fn every_link_of_a_page_leads_to_a_file() {
    let mut links = 0;
    for (path, page) in pages() {
        let targets = page
            .split("](")
            .skip(1)
            .filter_map(|link| link.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let file = target.split('#').next().unwrap_or_default();
            let linked = path.parent().expect("a folder").join(file);
            assert!(linked.exists(), "{}: {target}", path.display());
            links += 1;
        }
    }
    assert!(links > 50, "only {links} links have been found");
}
