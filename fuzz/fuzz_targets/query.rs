//! A query string, and on a second line the `Last-Event-ID`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(broken) = vidette::fuzzing::query(text) {
        panic!("{broken}");
    }
});
