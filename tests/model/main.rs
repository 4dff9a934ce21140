//! Random scripts – publish, trim, restart, crash, read and resume on any transport – against a
//! plain list.
//!
//! After each step that a subscription yields, the list says whether the contract allows it. A
//! script that fails is cut down to a short one and printed. `PROPTEST_CASES` sets how many are
//! tried on each engine.

#![allow(unreachable_pub)] // a program of its own

#[path = "../common/mod.rs"]
mod common;

mod expect;
mod log;
mod publisher;
mod reading;
mod run;
mod script;
mod shared;
mod witness;

use std::sync::Once;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use common::engines::{EngineUnderTest, MEMORY, SHARED, SQLITE};

/// Scripts for each engine, unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 30;
/// The same for two gateways on one log.
const SHARED_CASES: u32 = 15;
/// How long cutting a script down may take, in milliseconds.
const MAX_SHRINK_MS: u32 = 120_000;

#[test]
fn the_gateway_on_sqlite_does_as_a_plain_list_does() {
    check(SQLITE);
}

#[test]
fn the_gateway_on_memory_does_as_a_plain_list_does() {
    check(MEMORY);
}

#[test]
fn the_gateway_on_a_shared_log_does_as_a_plain_list_does() {
    check(SHARED);
}

#[test]
fn two_gateways_on_a_shared_log_lose_repeat_and_reorder_nothing() {
    quiet_tasks();
    let tried = TestRunner::new(config(SHARED_CASES)).run(&shared::scripts(), |script| {
        shared::run(&script).map_err(TestCaseError::fail)
    });
    report(tried, |script| format!("two gateways, after {script:?}"));
}

fn check(engine: EngineUnderTest) {
    quiet_tasks();
    let tried = TestRunner::new(config(CASES)).run(&script::scripts(1..40), |script| {
        run::run(engine, &script).map_err(TestCaseError::fail)
    });
    report(tried, |script| {
        format!("on {} after\n{script:?}", engine.name)
    });
}

fn config(cases: u32) -> Config {
    let mut config = Config {
        failure_persistence: None,
        max_shrink_time: MAX_SHRINK_MS,
        ..Config::default()
    };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

fn report<S>(tried: Result<(), TestError<S>>, describe: impl FnOnce(S) -> String) {
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, script)) => panic!("{why}\n\n{}", describe(script)),
        Err(TestError::Abort(why)) => panic!("no scripts: {why}"),
    }
}

/// A script that fails panics in a task; its message is shown with the script that is left in the
/// end.
fn quiet_tasks() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name().is_some_and(|name| {
                name.starts_with("the_gateway") || name.starts_with("two_gateways")
            }) {
                usual(panic);
            }
        }));
    });
}
