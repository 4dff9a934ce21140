//! What is handed to operators: the Debian package, the file system of the image, and the first
//! hour's page. A machine to install on is a copy of this one's file system in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::unistd::geteuid;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    let output = command.args(args).current_dir(root()).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Its standard output, where it succeeded.
fn succeeds(program: &str, args: &[&str]) -> String {
    let output = run(program, args);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out
}

/// The command without what debuggers need, which is most of it.
fn stripped(folder: &Path) -> PathBuf {
    let program = folder.join("vidette");
    let of_tests = env!("CARGO_BIN_EXE_vidette");
    succeeds("strip", &["-s", "-o", &text(&program), of_tests]);
    program
}

/// May this process mount file systems, which are gone with it?
fn is_root() -> bool {
    let is_root = geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root may install packages and change its root");
    }
    is_root
}

#[test]
fn the_package_is_installed_upgraded_removed_and_purged() {
    if !is_root() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let program = text(&stripped(folder.path()));
    let machine = text(&folder.path().join("machine"));
    fs::create_dir(&machine).expect("a folder");
    let [old, new] = ["1.0", "2.0"].map(|version| {
        let package = text(&folder.path().join(format!("{version}.deb")));
        succeeds(
            "bash",
            &["scripts/build-deb.sh", &program, &package, version],
        );
        package
    });
    let own = ["--mount", "--net", "--pid", "--fork", "--kill-child"];
    let script = ["timeout", "60", "bash", "tests/operations/package.sh"];
    let args = [&own[..], &script, &[&old, &new, &machine]].concat();
    assert_eq!(succeeds("unshare", &args), "purged\n");
}

/// Each file in the list of the package exists, or is made by `make dist`.
#[test]
fn the_list_of_the_package_names_files_that_exist() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let assets = &manifest["package"]["metadata"]["deb"]["assets"];
    let assets = assets.as_array().expect("a list");
    assert!(assets.len() > 5);
    for asset in assets {
        let source = asset[0].as_str().expect("a path");
        let exists = source.starts_with("target/") || root().join(source).exists();
        assert!(exists, "{source}");
    }
}

/// What stands for the image where no Docker is.
const IN_ROOT: &str = r#"
set -euo pipefail
ip link set lo up
chroot --userspec 65532:65532 "$1" /usr/local/bin/vidette serve --data-dir /var/lib/vidette \
  >/dev/null 2>"$1.log" </dev/null &
gateway=$!
# As HEALTHCHECK does.
chroot --userspec 65532:65532 "$1" /usr/local/bin/vidette ready --wait 10s || { cat "$1.log"; exit 1; }
curl -sf -d '{"doorno":3}' http://127.0.0.1:8080/v1/topics/door.3 | grep -o '"vid":1'
stat -c %u "/proc/$(pgrep -P $$ vidette)"
kill "$gateway"
wait "$gateway"
"#;

#[test]
fn the_image_holds_all_that_the_gateway_needs() {
    if !is_root() {
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let program = text(&stripped(folder.path()));
    let image = text(&folder.path().join("image"));
    succeeds("bash", &["scripts/build-rootfs.sh", &program, &image]);
    let own = [
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ];
    let script = ["timeout", "30", "bash", "-c", IN_ROOT, "bash", &image];
    let printed = succeeds("unshare", &[&own[..], &script].concat());
    assert_eq!(printed, "\"vid\":1\n65532\n");
    let log = folder.path().join("image/var/lib/vidette/vidette.db");
    assert!(log.exists());
}

/// Both are the same file system, in two languages.
#[test]
fn the_dockerfile_and_the_script_put_the_same_into_the_image() {
    let read = |file: &str| fs::read_to_string(root().join(file)).expect("a file");
    let (docker, script) = (read("deploy/Dockerfile"), read("scripts/build-rootfs.sh"));
    for part in ["/usr/local/bin/vidette", "/var/lib/vidette", "65532"] {
        assert!(docker.contains(part) && script.contains(part), "{part}");
    }
    for part in ["HEALTHCHECK", "\"ready\"", ":nonroot"] {
        assert!(docker.contains(part), "{part}");
    }
}
