//! What every engine promises, checked on each of them by the public trait.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod closing;
mod epochs;
mod many_topics;
mod model;
mod old_versions;
mod order;
mod pages;
mod readers;
mod removal;
mod sqlite_only;
mod trimming;

/// Runs each of these functions on every engine.
macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        crate::on_engines! { on_every_engine, |_| true, $($name),* }
    };
}
pub(crate) use on_every_engine;

/// Runs each of these functions on engines that have the clock of whoever calls them, and trim when
/// they are told. A stream of NATS has a clock of its own, and its servers trim.
macro_rules! on_engines_timed_by_the_test {
    ($($name:ident),* $(,)?) => {
        crate::on_engines! {
            on_engines_timed_by_the_test, |engine: &EngineUnderTest| engine.is_timed_by_caller,
            $($name),*
        }
    };
}
pub(crate) use on_engines_timed_by_the_test;

macro_rules! on_engines {
    ($module:ident, $wanted:expr, $($name:ident),*) => {
        mod $module {
            #[allow(unused_imports)]
            use crate::common::engines::EngineUnderTest;

            use crate::bench::Bench;
            use crate::common::engines;

            $(
                #[tokio::test]
                async fn $name() {
                    for engine in engines().into_iter().filter($wanted) {
                        println!("on {}", engine.name); // shown when it fails
                        super::$name(Bench::new(engine)).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use on_engines;
