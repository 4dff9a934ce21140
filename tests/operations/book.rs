//! The tutorial and the how-tos of the book, run: the blocks of a page on one machine, in their
//! order.
//!
//! A `sh` block is run by bash and has to succeed. The `text` block behind it is what it prints.
//! Blocks of other languages are looked at, not run.

use crate::page::{Block, blocks_of};
use crate::service::Machine;

/// Where the page's gateway is, for commands that do not say it.
const PRELUDE: &str = "export VIDETTE_URL=http://127.0.0.1:8080 VIDETTE_LISTEN=127.0.0.1:8080\n";

/// Runs the blocks of pages, one page after the other, and counts them.
fn run(pages: &[&str]) -> usize {
    let machine = Machine::new("false");
    pages
        .iter()
        .map(|page| run_on(&machine, page, &blocks_of(page)))
        .sum()
}

fn run_on(machine: &Machine, page: &str, blocks: &[Block]) -> usize {
    let mut commands = 0;
    for (n, block) in blocks.iter().enumerate() {
        if block.language != "sh" {
            continue;
        }
        let printed = machine.run(&format!("{PRELUDE}{}", block.text));
        let printed = printed.unwrap_or_else(|error| panic!("{page}:\n{}\n{error}", block.text));
        let expected = blocks.get(n + 1).filter(|next| next.language == "text");
        let expected = expected.map_or("", |answer| &answer.text);
        assert_eq!(printed, expected, "{page}:\n{}", block.text);
        commands += 1;
    }
    commands
}

#[test]
fn every_command_of_the_tutorial_works() {
    let chapters = ["first-page", "own-page", "resuming", "service"];
    let pages = chapters.map(|name| format!("docs/tutorial/{name}.md"));
    let pages: Vec<_> = pages.iter().map(String::as_str).collect();
    assert!(run(&pages) > 12);
}

#[test]
fn every_command_of_the_migration_from_polling_works() {
    assert!(run(&["docs/migrate-from-polling.md"]) > 3);
}

#[test]
fn every_command_of_the_migration_from_mercure_works() {
    assert!(run(&["docs/migrate-from-mercure.md"]) > 3);
}

#[test]
fn every_command_of_the_migration_from_nchan_works() {
    assert!(run(&["docs/migrate-from-nchan.md"]) > 3);
}

#[test]
fn every_command_of_the_migration_from_centrifugo_works() {
    assert!(run(&["docs/migrate-from-centrifugo.md"]) > 3);
}
