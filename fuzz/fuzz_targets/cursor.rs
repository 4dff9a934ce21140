//! A cursor: what is read is written back the same, and nothing is read that contract §3 forbids.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(broken) = vidette::fuzzing::cursor(text) {
        panic!("{broken}");
    }
});
