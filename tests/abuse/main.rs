//! Attacks on a gateway, each beside live events, and what became of both.
//!
//! `cargo test --test abuse` runs the short form on a debug build; `make abuse-long`
//! (`VIDETTE_ABUSE=long`) has the full counts, on the release build. A name after `--` runs the
//! attacks with that name. An attack is held when everybody got a right answer or a bounded one,
//! memory stayed below its bound, live events were neither lost nor repeated, nothing panicked, and
//! the gateway serves afterwards. Nothing is asserted on speed but bounds that only a hang passes.

#![allow(unreachable_pub)] // a program of its own

#[allow(dead_code)] // the history checker uses all of it
#[path = "../history/clock.rs"]
mod clock;
#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod bodies;
mod cold;
mod connections;
mod database;
mod drain;
mod ground;
mod h1;
mod handshakes;
mod jumps;
mod key_server;
mod live;
mod memory;
mod messages;
mod quiet;
mod records;
mod report;
mod resets;
mod retention;
mod strangers;
mod streams;
mod wildcards;
mod windows;

use std::process::ExitCode;
use std::time::Instant;

use attacks::Attack;
use ground::{Ground, Row};

fn main() -> ExitCode {
    // An attack that succeeds may panic; its message is in the table.
    std::panic::set_hook(Box::new(|_| ()));
    // Thousands of connections of attackers are as many open files.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let only = only.unwrap_or_default();
    let is_long = std::env::var("VIDETTE_ABUSE").is_ok_and(|form| form == "long");
    let began = Instant::now();
    report::print_heads();
    let (mut held, mut succeeded) = (0, 0);
    for attack in attacks::ALL.iter().filter(|a| a.name.contains(&only)) {
        for &is_secure in attack.against.gateways(is_long) {
            let row = run(attack, is_long, is_secure);
            report::print_row(&row);
            *if row.wrong.is_empty() {
                &mut held
            } else {
                &mut succeeded
            } += 1;
        }
    }
    let took = began.elapsed();
    println!("\n{held} attacks held, {succeeded} succeeded, in {took:.0?}");
    ExitCode::from(u8::from(succeeded > 0))
}

/// Each attack has a runtime of its own, on one thread: clients of gateways that are killed must
/// not hand requests between threads.
fn run(attack: &Attack, is_long: bool, is_secure: bool) -> Row {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let row = runtime.block_on(Ground::run(attack, is_long, is_secure));
    runtime.shutdown_background();
    row
}
