//! Compiles the gRPC contract without a system `protoc`, and lists the files that pages are made of.
//!
//! Five outputs, all in `OUT_DIR`: the server's code (without `Subscribe`, whose messages are
//! encoded once for all who read them), a plain client's code, the descriptor set that reflection
//! serves, a client of collectors of spans, and the files of pages: the documents with their
//! pictures, and the modules of the client library.

use std::path::{Path, PathBuf};

use prost::Message as _;

const PROTO: &str = "proto/vidette/v1/vidette.proto";
const OTLP: &str = "proto/otlp/trace.proto";
const DOCS: &str = "docs";
const MODULES: &str = "clients/js/src";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    println!("cargo:rerun-if-changed={OTLP}");
    println!("cargo:rerun-if-changed={DOCS}");
    println!("cargo:rerun-if-changed={MODULES}");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files = protox::compile([PROTO], ["proto"])?;
    std::fs::write(out.join("vidette_descriptors.bin"), files.encode_to_vec())?;
    let documents = list_of_files("DOCS", DOCS, "md")? + &list_of_files("PICTURES", DOCS, "svg")?;
    std::fs::write(out.join("docs.rs"), documents)?;
    std::fs::write(
        out.join("modules.rs"),
        list_of_files("MODULES", MODULES, "js")?,
    )?;

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
    tonic_prost_build::configure()
        .build_server(false)
        .out_dir(subfolder(&out, "otlp")?)
        .compile_fds(protox::compile([OTLP], ["proto"])?)?;
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

/// A list of all files with this extension: their paths below the folder, and their texts.
fn list_of_files(list: &str, folder: &str, extension: &str) -> std::io::Result<String> {
    let root = std::env::current_dir()?.join(folder);
    let mut paths = Vec::new();
    find_files(&root, extension, &mut paths)?;
    paths.sort();
    let entries = paths.iter().map(|path| {
        let name = path
            .strip_prefix(&root)
            .unwrap_or(path)
            .display()
            .to_string();
        let file = path.display().to_string();
        format!("({name:?}, include_str!({file:?})),\n")
    });
    let entries: String = entries.collect();
    Ok(format!(
        "static {list}: &[(&str, &str)] = &[\n{entries}];\n"
    ))
}

fn find_files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    // A build without these files has none.
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find_files(&path, extension, found)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}
