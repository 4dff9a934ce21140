//! docs/operations.md, run: each section on a machine of its own, with three events in its log.
//!
//! A `sh` block is run by bash and has to succeed. The `text` block behind it is what it prints.
//! The `ini` block is the service.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::service::Machine;

/// A heading of level 2, and the blocks below it.
#[derive(Debug, Default)]
struct Section {
    title: String,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

fn page() -> Vec<Section> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = fs::read_to_string(path).expect("the page");
    let mut sections = Vec::new();
    for part in page.split("\n## ").skip(1) {
        let (title, text) = part.split_once('\n').expect("a heading");
        sections.push(Section {
            title: title.to_owned(),
            blocks: blocks(text),
        });
    }
    sections
}

/// All blocks of a page of the repository.
pub(crate) fn blocks_of(file: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    blocks(&fs::read_to_string(path).expect("the page"))
}

fn blocks(text: &str) -> Vec<Block> {
    // Between fences there is a block, behind each a text.
    let fenced = text.split("```").skip(1).step_by(2);
    let parts = fenced.map(|block| block.split_once('\n').expect("a language"));
    parts
        .map(|(language, text)| Block {
            language: language.to_owned(),
            text: text.to_owned(),
        })
        .collect()
}

fn exec_start() -> String {
    let page = page();
    let blocks = page.iter().flat_map(|section| &section.blocks);
    let mut services = blocks.filter(|block| block.language == "ini");
    let service = &services.next().expect("a service").text;
    let command = service.lines().find_map(|l| l.strip_prefix("ExecStart="));
    command.expect("a command").to_owned()
}

/// What a section's commands leave behind.
struct Left {
    epoch_before: String,
    machine: Machine,
}

impl Left {
    async fn get(&self, path: &str) -> Value {
        get(&self.machine, path).await
    }

    async fn vids(&self, cursor: &str) -> (Vec<u64>, Value) {
        let answer = self.get(&format!("/v1/poll?after={cursor}&wait=0")).await;
        let events = answer["events"].as_array().expect("events").iter();
        let vids = events.map(|e| e["vid"].as_u64().expect("a vid"));
        (vids.collect(), answer["gap"]["reason"].clone())
    }
}

async fn get(machine: &Machine, path: &str) -> Value {
    let answer = reqwest::get(format!("{}{path}", machine.url())).await;
    answer.expect("an answer").json().await.expect("JSON")
}

async fn publish(machine: &Machine, count: usize) {
    let events = vec![json!({ "topic": "door.3", "data": 1 }); count];
    let request = reqwest::Client::new().post(format!("{}/v1/events", machine.url()));
    let answer = request.json(&events).send().await.expect("an answer");
    assert!(answer.status().is_success());
}

/// Runs a section. So many events more are published after its first block.
async fn run_section(title: &str, publish_after_first: usize) -> Left {
    let sections = page();
    let section = sections.iter().find(|section| section.title == title);
    let blocks = &section.expect("the section").blocks;
    let machine = Machine::new(&exec_start());
    machine.run("systemctl start vidette").expect("it starts");
    publish(&machine, 3).await;
    let bus = get(&machine, "/v1/bus").await;
    for (n, block) in blocks.iter().enumerate() {
        if block.language != "sh" {
            continue;
        }
        let printed = machine.run(&block.text);
        let printed = printed.unwrap_or_else(|e| panic!("{title}:\n{}\n{e}", block.text));
        if let Some(answer) = blocks.get(n + 1).filter(|next| next.language == "text") {
            assert_eq!(printed, answer.text, "{title}:\n{}", block.text);
        }
        if n == 0 && publish_after_first > 0 {
            publish(&machine, publish_after_first).await;
        }
    }
    Left {
        epoch_before: bus["epoch"].as_str().expect("an epoch").to_owned(),
        machine,
    }
}

/// The log went back to its first three events, and what came after them is lost.
async fn is_restored(left: &Left) {
    let bus = left.get("/v1/bus").await;
    assert_eq!((&bus["first"], &bus["last"]), (&json!(1), &json!(3)));
    assert_ne!(bus["epoch"], json!(left.epoch_before));
    publish(&left.machine, 2).await;
    let old = |vid: u64| format!("{vid}-{}", left.epoch_before);
    assert_eq!(left.vids(&old(3)).await, (vec![4, 5], Value::Null));
    let all = vec![1, 2, 3, 4, 5];
    assert_eq!(left.vids(&old(5)).await, (all, json!("reset")));
}

/// The log has all that it had, in this epoch or in a new one in which readers read on.
async fn is_whole(left: &Left, last: u64, is_same_epoch: bool) {
    let bus = left.get("/v1/bus").await;
    assert_eq!((&bus["first"], &bus["last"]), (&json!(1), &json!(last)));
    assert_eq!(bus["epoch"] == json!(left.epoch_before), is_same_epoch);
    let cursor = format!("{}-{}", last - 1, left.epoch_before);
    assert_eq!(left.vids(&cursor).await, (vec![last], Value::Null));
}

#[test]
fn every_section_of_the_page_is_run_here() {
    let titles: Vec<_> = page().into_iter().map(|section| section.title).collect();
    let tested = [
        "The service",
        "End",
        "Reload",
        "Back up and restore",
        "Back up a stopped gateway",
        "Restore a machine or a disk",
        "Move",
        "Upgrade",
        "Downgrade",
    ];
    assert_eq!(titles, tested);
}

#[tokio::test]
async fn the_service_becomes_ready() {
    let left = run_section("The service", 0).await;
    is_whole(&left, 3, true).await;
}

#[tokio::test]
async fn an_orderly_end_keeps_the_log() {
    let left = run_section("End", 0).await;
    is_whole(&left, 3, true).await;
}

#[tokio::test]
async fn a_reload_keeps_the_gateway() {
    let left = run_section("Reload", 0).await;
    is_whole(&left, 3, true).await;
}

#[tokio::test]
async fn a_backup_of_a_running_gateway_can_be_restored() {
    let left = run_section("Back up and restore", 3).await;
    is_restored(&left).await;
}

#[tokio::test]
async fn a_folder_of_a_stopped_gateway_can_be_restored() {
    let left = run_section("Back up a stopped gateway", 3).await;
    is_restored(&left).await;
}

#[tokio::test]
async fn a_machine_that_went_back_begins_a_new_epoch() {
    let left = run_section("Restore a machine or a disk", 0).await;
    is_whole(&left, 3, false).await;
}

#[tokio::test]
async fn a_folder_that_is_moved_has_all_that_it_had() {
    let left = run_section("Move", 2).await;
    is_whole(&left, 5, false).await;
}

#[tokio::test]
async fn an_upgrade_keeps_the_epoch() {
    let left = run_section("Upgrade", 2).await;
    is_whole(&left, 5, true).await;
}

#[tokio::test]
async fn a_downgrade_keeps_the_events_and_the_epoch() {
    let left = run_section("Downgrade", 2).await;
    is_whole(&left, 5, true).await;
}
