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
    paths.push("docs/cloudevents.md".to_owned());
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
    let mut parser = Parser {
        file,
        sections: vec![Section::default()],
        errors: Vec::new(),
        heading: String::new(),
        command: None,
    };
    for (line, part) in parts(page) {
        match part {
            Part::Heading { level, text } => parser.heading(level, text),
            Part::Block { language, text } => parser.block(line, &language, text),
        }
    }
    parser.finish(page)
}

/// What has been read of a page so far.
struct Parser<'p> {
    file: &'p str,
    sections: Vec<Section>,
    errors: Vec<PageError>,
    /// The nearest heading, of any level.
    heading: String,
    /// A command whose answer comes next, and its line.
    command: Option<(usize, String)>,
}

impl Parser<'_> {
    fn heading(&mut self, level: usize, text: String) {
        self.leave_command();
        self.heading.clone_from(&text);
        if level <= 3 {
            self.sections.push(Section {
                title: text,
                ..Section::default()
            });
        }
    }

    fn block(&mut self, line: usize, language: &str, text: String) {
        match language {
            "toml" => {
                self.leave_command();
                self.configuration(line, &text);
            }
            "sh" => {
                self.leave_command();
                if text.starts_with(SERVE) {
                    self.example(line, text, None);
                } else {
                    self.command = Some((line, text));
                }
            }
            "json" => self.answer(line, Answer::Json(text)),
            "text" => self.answer(line, Answer::Text(text)),
            // A part of a client's program.
            "python" | "go" => self.leave_command(),
            other => self.error(line, format!("a block of {other:?} is none of ours")),
        }
    }

    fn section(&mut self) -> &mut Section {
        self.sections.last_mut().expect("a section")
    }

    fn configuration(&mut self, line: usize, toml: &str) {
        if self.section().examples.is_empty() {
            self.section().config.push_str(toml);
        } else {
            self.error(line, "a configuration comes before the commands");
        }
    }

    fn answer(&mut self, line: usize, answer: Answer) {
        match self.command.take() {
            Some((line, command)) => self.example(line, command, Some(answer)),
            None => self.error(line, "the answer has no command"),
        }
    }

    fn example(&mut self, line: usize, command: String, answer: Option<Answer>) {
        let example = Example {
            file: self.file.to_owned(),
            line,
            heading: self.heading.clone(),
            command,
            answer,
        };
        self.section().examples.push(example);
    }

    /// Something else than an answer follows.
    fn leave_command(&mut self) {
        if let Some((line, _)) = self.command.take() {
            self.error(line, "the command has no answer");
        }
    }

    fn error(&mut self, line: usize, what: impl Into<String>) {
        self.errors.push(PageError {
            file: self.file.to_owned(),
            line,
            what: what.into(),
        });
    }

    fn finish(mut self, page: &str) -> (Vec<Section>, Vec<PageError>) {
        self.leave_command();
        if page.lines().filter(|line| line.starts_with("```")).count() % 2 == 1 {
            self.error(page.lines().count(), "a block has no end");
        }
        (self.sections, self.errors)
    }
}

/// Headings and blocks, each with its line.
fn parts(page: &str) -> Vec<(usize, Part)> {
    let mut parts = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            let (language, text) = (language.into(), block.join("\n"));
            parts.push((number, Part::Block { language, text }));
        } else if line.starts_with('#') {
            let text = line.trim_start_matches('#');
            let level = line.len() - text.len();
            let text = text.trim().into();
            parts.push((number, Part::Heading { level, text }));
        }
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
