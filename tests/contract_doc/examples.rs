//! Runs the page's commands, each section on a gateway of its own.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::answers::compare;
use crate::common::gateway::{Gateway, Setup};
use crate::page::{Answer, Example, Section, pages, parse, parse_all, table};

/// The page's address for the gateway, and its epoch.
const ADDRESS: &str = "127.0.0.1:8080";
const EPOCH: &str = "k3x9q2…";

/// Each example ends by itself within this time.
const BOUND_S: &str = "20";
/// Sections run at once; most of them wait for something.
const AT_ONCE: usize = 6;

/// A gateway and what differs about it from the page.
struct Stage {
    gateway: Gateway,
    epoch: String,
}

impl Stage {
    async fn set(section: &Section) -> Self {
        let gateway = Gateway::start_with(Setup {
            config: section.config.clone(),
            ..Setup::default()
        });
        let bus: Value = gateway.get("/v1/bus").await;
        Stage {
            epoch: bus["epoch"].as_str().expect("an epoch").to_owned(),
            gateway,
        }
    }

    fn fit(&self, text: &str) -> String {
        text.replace(ADDRESS, &self.gateway.address().to_string())
            .replace(EPOCH, &self.epoch)
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

    async fn check(&self, example: &Example) -> Result<(), String> {
        let answer = match &example.answer {
            Answer::Json(text) => Answer::Json(self.fit(text)),
            Answer::Text(text) => Answer::Text(self.fit(text)),
        };
        let outcome = match self.run(&example.command).await {
            Ok(seen) => compare(&answer, &seen),
            Err(fault) => Err(fault),
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

async fn run_section(section: Section) -> Vec<String> {
    let stage = Stage::set(&section).await;
    let mut wrong = Vec::new();
    for example in &section.examples {
        wrong.extend(stage.check(example).await.err());
    }
    wrong
}

#[test]
fn every_command_of_the_page_has_its_answer() {
    let (sections, faults) = parse_all();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
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
    for (title, heading) in [
        (
            "Where a subscription starts",
            "## §3 Where a subscription starts",
        ),
        ("Is a cursor valid?", "### Is a cursor valid?"),
    ] {
        let section = sections
            .iter()
            .find(|section| section.title == title && !section.examples.is_empty())
            .expect("the section");
        for row in table(&rules, heading) {
            let is_of_row =
                |e: &&Example| row[0].to_lowercase().starts_with(&e.heading.to_lowercase());
            let commands: Vec<&str> = section
                .examples
                .iter()
                .filter(is_of_row)
                .map(|e| e.command.as_str())
                .collect();
            for wire in ["/v1/poll?", "/v1/sse?", "vidette.v1.EventBus/Subscribe"] {
                assert!(
                    commands.iter().any(|command| command.contains(wire)),
                    "{title}: {}: {wire}",
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
