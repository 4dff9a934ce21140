//! A `PublishRequest` in protobuf.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    if let Err(broken) = vidette::fuzzing::grpc_publish(message) {
        panic!("{broken}");
    }
});
