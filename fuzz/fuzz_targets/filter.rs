//! A filter (the first line is a topic, each further one a pattern) against a naive oracle.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(broken) = vidette::fuzzing::filter(text) {
        panic!("{broken}");
    }
});
