//! docs/contract.md, docs/contract/ and docs/cloudevents.md, run: each command that they show, and
//! what they say that comes back.
//!
//! How a page is read:
//! - A heading of level 2 or 3 begins a section, and a section with commands has a gateway of its
//!   own with an empty log. A `toml` block is that gateway's configuration.
//! - A `sh` block is a command. It is run by bash with `.tools/bin` on the PATH, and `$GATEWAY` is
//!   the gateway's process id. The next `json` or `text` block is what it has to print, on standard
//!   output and standard error together. In a `json` block layout does not count; in a `text` block
//!   each line does.
//! - A command without such a block, or such a block without a command, is an error of the page.
//! - `vidette serve` with flags has no answer: it stops the section's gateway and starts one with
//!   these flags on the same data folder.
//!
//! Placeholders, which are all that may differ:
//! - `127.0.0.1:8080` is the gateway's address and `k3x9q2…` the epoch of its log, in commands and
//!   answers; after it was started again `m8d4w1…` is the epoch that its log has then;
//! - `2026-11-22T…Z` in an answer is any time of that form;
//! - a line of nothing but `…` (or `…,`) in an answer is any number of lines, also none;
//! - `…` anywhere else in an answer is any text within its line.
//!
//! The tables of errors and limits are compared with the code.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod examples;
mod page;
mod tables;
