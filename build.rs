//! Compiles the gRPC contract without a system `protoc`.
//!
//! Three outputs, all in `OUT_DIR`: the server's code (without `Subscribe`, whose messages are
//! encoded once for all who read them), a plain client's code, and the descriptor set that
//! reflection serves.

use std::path::{Path, PathBuf};

use prost::Message as _;

const PROTO: &str = "proto/vidette/v1/vidette.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files = protox::compile([PROTO], ["proto"])?;
    std::fs::write(out.join("vidette_descriptors.bin"), files.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .codec_path("crate::transport::grpc::SmallBuffers")
        .out_dir(subfolder(&out, "server")?)
        .compile_fds(without_own_calls(files.clone()))?;
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .out_dir(subfolder(&out, "client")?)
        .compile_fds(files)?;
    Ok(())
}

/// Calls whose requests or answers the gateway reads or writes itself.
const OWN_CALLS: [&str; 3] = ["Publish", "PublishStream", "Subscribe"];

fn without_own_calls(mut files: prost_types::FileDescriptorSet) -> prost_types::FileDescriptorSet {
    for service in files.file.iter_mut().flat_map(|file| &mut file.service) {
        service
            .method
            .retain(|method| !OWN_CALLS.contains(&method.name()));
    }
    files
}

fn subfolder(out: &Path, name: &str) -> std::io::Result<PathBuf> {
    let folder = out.join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
