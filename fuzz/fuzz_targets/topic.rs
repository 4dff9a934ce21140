//! A topic: taken exactly when contract §1 allows it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(broken) = vidette::fuzzing::topic(text) {
        panic!("{broken}");
    }
});
