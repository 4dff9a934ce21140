//! Runs the page's commands, each section on a gateway of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::answers::compare;
use crate::common::gateway::{Gateway, Setup};
use crate::page::{Answer, Example, SERVE, Section, pages, parse, parse_all, table};

/// The page's address for the gateway, and its epochs: at first, and once it was started again.
const ADDRESS: &str = "127.0.0.1:8080";
const EPOCHS: [&str; 2] = ["k3x9q2…", "m8d4w1…"];

/// Each example ends by itself within this time.
const BOUND_S: &str = "20";
/// Sections run at once; most of them wait for something.
const AT_ONCE: usize = 6;

/// A gateway and what differs about it from the page.
struct Stage {
    gateway: Gateway,
    /// The one before it, which owns the data folder.
    stopped: Option<Gateway>,
    epochs: Vec<String>,
}

impl Stage {
    async fn set(section: &Section) -> Self {
        let gateway = Gateway::start_with(Setup {
            config: section.config.clone(),
            ..Setup::default()
        });
        Stage {
            epochs: vec![epoch(&gateway).await],
            gateway,
            stopped: None,
        }
    }

    /// Stops the gateway, and starts one with these flags on its data folder.
    async fn start_again(&mut self, command: &str) {
        let flags = command.strip_prefix(SERVE).unwrap_or_default();
        let setup = Setup {
            flags: flags.split_whitespace().map(str::to_owned).collect(),
            ..Setup::default()
        };
        self.gateway.terminate().await;
        let again = Gateway::start_at(setup, self.gateway.data_dir());
        self.epochs.push(epoch(&again).await);
        self.stopped = Some(std::mem::replace(&mut self.gateway, again));
    }

    fn fit(&self, text: &str) -> String {
        let text = text.replace(ADDRESS, &self.gateway.address().to_string());
        let epochs = EPOCHS.iter().zip(&self.epochs);
        epochs.fold(text, |text, (name, epoch)| text.replace(name, epoch))
    }

    /// What the command prints, or why that cannot be said.
    async fn run(&self, command: &str) -> Result<String, String> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin");
        let path = format!(
            "{}:{}",
            tools.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let script = format!("exec 2>&1\n{}", self.fit(command));
        let mut bash = Command::new("timeout");
        bash.args([BOUND_S, "bash", "-c", &script])
            .stdin(Stdio::null());
        bash.env("PATH", path)
            .env("GATEWAY", self.gateway.pid().to_string());
        let output = tokio::process::Command::from(bash)
            .output()
            .await
            .map_err(|e| format!("timeout: {e}"))?;
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(124) => Err(format!(
                "it did not end by itself within {BOUND_S} s; until then:\n{seen}"
            )),
            Some(127) => Err(format!(
                "{seen}scripts/setup-tests.sh installs what is missing"
            )),
            _ => Ok(seen),
        }
    }

    async fn check(&mut self, example: &Example) -> Result<(), String> {
        let answer = match &example.answer {
            Some(Answer::Json(text)) => Answer::Json(self.fit(text)),
            Some(Answer::Text(text)) => Answer::Text(self.fit(text)),
            None => {
                self.start_again(&example.command).await;
                return Ok(());
            }
        };
        let outcome = match self.run(&example.command).await {
            Ok(seen) => compare(&answer, &seen),
            Err(error) => Err(error),
        };
        let Example {
            file,
            line,
            command,
            ..
        } = example;
        outcome.map_err(|diff| format!("{file}:{line}: {command}\n{diff}"))
    }
}

/// The epoch of a gateway's log.
async fn epoch(gateway: &Gateway) -> String {
    let bus: Value = gateway.get("/v1/bus").await;
    bus["epoch"].as_str().expect("an epoch").to_owned()
}

async fn run_section(section: Section) -> Vec<String> {
    let mut stage = Stage::set(&section).await;
    let mut wrong = Vec::new();
    for example in &section.examples {
        wrong.extend(stage.check(example).await.err());
    }
    wrong
}

#[test]
fn every_command_of_the_page_has_its_answer() {
    let (sections, errors) = parse_all();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    let examples = sections
        .iter()
        .map(|section| section.examples.len())
        .sum::<usize>();
    assert!(examples > 100, "only {examples} examples have been found");
}

#[tokio::test]
async fn every_example_comes_back_as_the_page_says() {
    use futures_util::StreamExt as _;
    let sections = parse_all()
        .0
        .into_iter()
        .filter(|section| !section.examples.is_empty());
    let running = futures_util::stream::iter(sections)
        .map(run_section)
        .buffer_unordered(AT_ONCE);
    let wrong: Vec<String> = running.concat().await;
    assert!(
        wrong.is_empty(),
        "- on the page, + came back:\n\n{}",
        wrong.join("\n\n")
    );
}

#[tokio::test]
async fn a_wrong_answer_is_found_and_shown() {
    let page = "## A\n```sh\ncurl -s http://127.0.0.1:8080/healthz\n```\n```text\nnot ok\n```";
    let section = parse("page.md", page).0.pop().expect("a section");
    let wrong = run_section(section).await;
    assert_eq!(
        wrong,
        ["page.md:2: curl -s http://127.0.0.1:8080/healthz\n  - not ok\n  + ok"]
    );
}

#[test]
fn each_row_of_the_tables_of_starts_and_cursors_is_shown_on_each_wire() {
    let (sections, _) = parse_all();
    let (_, rules) = pages().swap_remove(0);
    for (file, heading) in [
        (
            "docs/contract/starts.md",
            "## §3 Where a subscription starts",
        ),
        ("docs/contract/cursors.md", "### Is a cursor valid?"),
    ] {
        for row in table(&rules, heading) {
            let is_of_row = |e: &&Example| {
                e.file == file && row[0].to_lowercase().starts_with(&e.heading.to_lowercase())
            };
            let commands: Vec<&str> = sections
                .iter()
                .flat_map(|section| &section.examples)
                .filter(is_of_row)
                .map(|e| e.command.as_str())
                .collect();
            for wire in ["/v1/poll?", "/v1/sse?", "vidette.v1.EventBus/Subscribe"] {
                assert!(
                    commands.iter().any(|command| command.contains(wire)),
                    "{file}: {}: {wire}",
                    row[0]
                );
            }
        }
    }
}

/// A heading as a link names it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept: String = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect();
    kept.replace(' ', "-")
}

#[test]
fn every_link_between_the_pages_leads_to_a_heading() {
    let pages = pages();
    for (file, page) in &pages {
        let folder = Path::new(file).parent().expect("a folder");
        let links = page.split("](").skip(1).map(|l| l.split(')').next());
        for (path, target) in links.flatten().filter_map(|link| link.split_once('#')) {
            let linked = match path.strip_prefix("../") {
                _ if path.is_empty() => file.clone(),
                Some(above) => format!("docs/{above}"),
                None => folder.join(path).display().to_string(),
            };
            let (_, page) = pages
                .iter()
                .find(|(file, _)| *file == linked)
                .unwrap_or_else(|| panic!("{file}: {path}"));
            let mut headings = page.lines().filter(|line| line.starts_with('#'));
            assert!(
                headings.any(|heading| anchor(heading) == target),
                "{file}: {path}#{target}"
            );
        }
    }
}
