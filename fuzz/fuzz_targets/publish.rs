//! A publish body, as one object, as a batch and as NDJSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Err(broken) = vidette::fuzzing::publish(body) {
        panic!("{broken}");
    }
});
