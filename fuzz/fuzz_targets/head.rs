//! The bytes of a connection, from the beginning of a request.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = vidette::fuzzing::head(bytes) {
        panic!("{broken}");
    }
});
