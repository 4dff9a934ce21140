//! Gearman as a source: Debian's gearmand, producers in PHP, the `gearman` command, and packets
//! written by hand.
//!
//! What they need besides cargo is installed by `scripts/setup-tests.sh`.

#[path = "../clients/browser/chromium.rs"]
#[allow(dead_code)] // each test program uses a part of it
mod chromium;
#[path = "../common/mod.rs"]
mod common;
#[path = "../clients/browser/page.rs"]
#[allow(dead_code)] // as chromium
mod page;
#[path = "../clients/browser/process.rs"]
mod process;
#[path = "../clients/tools.rs"]
#[allow(dead_code)]
mod tools;

mod client;
mod job_server;
mod jobs;
mod migration;
mod old_system;
mod outages;
mod pages;
mod several_gateways;
mod support;
mod withholding;
