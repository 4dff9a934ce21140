//! An event (lines: callback, content type, then data) as the legacy page's flat JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Err(broken) = vidette::fuzzing::legacy(input) {
        panic!("{broken}");
    }
});
