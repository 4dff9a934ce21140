//! The parts of the contract's pages: sections, their configuration, their commands and answers.

use std::path::Path;
use std::{fmt, fs};

/// What stands below a heading of level 2 or 3.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// The gateway's configuration, as TOML.
    pub(crate) config: String,
    pub(crate) examples: Vec<Example>,
}

/// A command and its answer.
#[derive(Debug)]
pub(crate) struct Example {
    /// The page, and where the command begins.
    pub(crate) file: String,
    pub(crate) line: usize,
    /// The nearest heading, of any level.
    pub(crate) heading: String,
    pub(crate) command: String,
    /// None for a command that starts the section's gateway again.
    pub(crate) answer: Option<Answer>,
}

/// What a command has to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// JSON values, however they are laid out.
    Json(String),
    /// Text, line by line.
    Text(String),
}

/// How a command begins that starts the section's gateway again, on its data folder.
pub(crate) const SERVE: &str = "vidette serve";

/// An error of the page itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PageError {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// A heading, or a block of code between fences.
enum Part {
    Heading { level: usize, text: String },
    Block { language: String, text: String },
}

/// The page of the rules, and those behind it with details and examples, by their paths.
pub(crate) fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = fs::read_dir(root.join("docs/contract")).expect("the examples");
    let names = examples.map(|entry| entry.expect("an entry").file_name());
    let mut paths: Vec<_> = names
        .map(|name| format!("docs/contract/{}", name.display()))
        .collect();
    paths.sort();
    paths.insert(0, "docs/contract.md".to_owned());
    let text = |path: &String| fs::read_to_string(root.join(path)).expect("a page");
    paths
        .into_iter()
        .map(|path| (path.clone(), text(&path)))
        .collect()
}

/// The sections of all pages, and what is wrong with them.
pub(crate) fn parse_all() -> (Vec<Section>, Vec<PageError>) {
    let (mut sections, mut errors) = (Vec::new(), Vec::new());
    for (file, page) in pages() {
        let (of_page, wrong) = parse(&file, &page);
        sections.extend(of_page);
        errors.extend(wrong);
    }
    (sections, errors)
}

/// The sections of a page, and what is wrong with it.
pub(crate) fn parse(file: &str, page: &str) -> (Vec<Section>, Vec<PageError>) {
    let mut errors = Vec::new();
    let mut sections = vec![Section::default()];
    let mut heading = String::new();
    let mut command: Option<(usize, String)> = None;
    for (line, part) in parts(file, page, &mut errors) {
        let answers = matches!(&part, Part::Block { language, .. } if ["json", "text"].contains(&language.as_str()));
        if let Some((line, _)) = command.as_ref().filter(|_| !answers) {
            errors.push(PageError {
                file: file.to_owned(),
                line: *line,
                what: "the command has no answer".into(),
            });
            command = None;
        }
        let section = sections.last_mut().expect("a section");
        match part {
            Part::Heading { level, text } => {
                heading.clone_from(&text);
                if level <= 3 {
                    sections.push(Section {
                        title: text,
                        ..Section::default()
                    });
                }
            }
            Part::Block { language, text } => match (language.as_str(), command.take()) {
                ("toml", _) if section.examples.is_empty() => section.config.push_str(&text),
                ("toml", _) => errors.push(PageError {
                    file: file.to_owned(),
                    line,
                    what: "a configuration comes before the commands".into(),
                }),
                ("sh", _) if text.starts_with(SERVE) => section.examples.push(Example {
                    file: file.to_owned(),
                    line,
                    heading: heading.clone(),
                    command: text,
                    answer: None,
                }),
                ("sh", _) => command = Some((line, text)),
                ("json" | "text", Some((line, command))) => {
                    let answer = if language == "json" {
                        Answer::Json(text)
                    } else {
                        Answer::Text(text)
                    };
                    section.examples.push(Example {
                        file: file.to_owned(),
                        line,
                        heading: heading.clone(),
                        command,
                        answer: Some(answer),
                    });
                }
                ("json" | "text", None) => errors.push(PageError {
                    file: file.to_owned(),
                    line,
                    what: "the answer has no command".into(),
                }),
                (other, _) => errors.push(PageError {
                    file: file.to_owned(),
                    line,
                    what: format!("a block of {other:?} is none of ours"),
                }),
            },
        }
    }
    if let Some((line, _)) = command {
        errors.push(PageError {
            file: file.to_owned(),
            line,
            what: "the command has no answer".into(),
        });
    }
    (sections, errors)
}

fn parts(file: &str, page: &str, errors: &mut Vec<PageError>) -> Vec<(usize, Part)> {
    let mut parts = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            parts.push((
                number,
                Part::Block {
                    language: language.into(),
                    text: block.join("\n"),
                },
            ));
        } else if line.starts_with('#') {
            let text = line.trim_start_matches('#');
            let level = line.len() - text.len();
            parts.push((
                number,
                Part::Heading {
                    level,
                    text: text.trim().into(),
                },
            ));
        }
    }
    if page.lines().filter(|line| line.starts_with("```")).count() % 2 == 1 {
        errors.push(PageError {
            file: file.to_owned(),
            line: page.lines().count(),
            what: "a block has no end".into(),
        });
    }
    parts
}

/// The cells of the table below a heading, without its first two rows.
pub(crate) fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let below = page
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"))
        .1;
    let rows = below
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2);
    rows.map(|row| {
        row.trim_matches('|')
            .split(" |")
            .map(|cell| cell.trim().to_owned())
            .collect()
    })
    .collect()
}

#[test]
fn a_command_without_an_answer_and_an_answer_without_a_command_are_errors() {
    let errors = |page: &str| {
        parse("page.md", page)
            .1
            .into_iter()
            .map(|error| (error.line, error.what))
            .collect::<Vec<_>>()
    };
    assert_eq!(errors("## A\n```sh\ntrue\n```\n```text\n```"), []);
    assert_eq!(errors("## A\n```sh\nvidette serve --new-epoch\n```"), []);
    let no_answer = "the command has no answer".to_owned();
    assert_eq!(errors("## A\n```sh\ntrue\n```"), [(2, no_answer.clone())]);
    assert_eq!(
        errors("## A\n```sh\ntrue\n```\n## B\n```text\n```").first(),
        Some(&(2, no_answer.clone()))
    );
    assert_eq!(
        errors("```sh\ntrue\n```\n```sh\ntrue\n```\n```json\n{}\n```"),
        [(1, no_answer)]
    );
    assert_eq!(
        errors("```json\n{}\n```"),
        [(1, "the answer has no command".into())]
    );
    assert_eq!(
        errors("```sh\ntrue\n```\n```text\n"),
        [(4, "a block has no end".into())]
    );
}

#[test]
fn a_heading_of_level_four_stays_in_its_section() {
    let (sections, _) = parse(
        "page.md",
        "## A\n#### a\n```sh\n1\n```\n```text\n```\n### B\n```toml\nx = 1\n```",
    );
    assert_eq!(
        sections
            .iter()
            .map(|s| s.title.as_str())
            .collect::<Vec<_>>(),
        ["", "A", "B"]
    );
    assert_eq!(
        (
            sections[1].examples[0].heading.as_str(),
            sections[2].config.as_str()
        ),
        ("a", "x = 1")
    );
}
