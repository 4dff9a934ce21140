//! An event (lines: type, id, content type, then data) through the SSE writer and a parser of its
//! own.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(broken) = vidette::fuzzing::sse(input) {
        panic!("{broken}");
    }
});
