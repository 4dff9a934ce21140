//! A machine on which vidette is a service: its folders below one of the test's own, and programs
//! that stand for `systemctl` and `journalctl`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, getuid};
use tempfile::TempDir;

/// The page's address of the gateway.
const ADDRESS: &str = "127.0.0.1:8080";
/// The page's address of what stands before it.
const PROXY_ADDRESS: &str = "127.0.0.1:8088";
/// The page's folders.
const FOLDERS: [&str; 3] = ["/usr/local/bin", "/var/lib", "/var/backups"];

/// Starts and ends the gateway, and comes back when it has.
const SYSTEMCTL: &str = r#"#!/bin/bash
set -eu
stop() {
    [ -e ROOT/pid ] || return 0
    pid=$(cat ROOT/pid)
    kill -TERM "$pid" 2>/dev/null || true
    while [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.01; done
    rm ROOT/pid
}
start() {
    COMMAND --listen ADDRESS 2>>ROOT/journal >/dev/null </dev/null &
    echo $! >ROOT/pid
    until curl -sf -o /dev/null http://ADDRESS/readyz; do
        [ -d "/proc/$(cat ROOT/pid)" ]
        sleep 0.01
    done
}
reload() {
    before=$(grep -c SIGHUP ROOT/journal || true)
    kill -HUP "$(cat ROOT/pid)"
    until [ "$(grep -c SIGHUP ROOT/journal)" -gt "$before" ]; do sleep 0.01; done
}
case $1 in
    start) start ;;
    stop) stop ;;
    restart) stop; start ;;
    reload) reload ;;
esac
"#;

const JOURNALCTL: &str = "#!/bin/bash\ncat ROOT/journal\n";

/// The machine; what runs on it ends when this is dropped.
pub(crate) struct Machine {
    root: TempDir,
    address: String,
    proxy_address: String,
}

impl Machine {
    /// A machine whose service runs this command.
    pub(crate) fn new(exec_start: &str) -> Self {
        let bound = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [address, proxy_address] = bound.map(|it| it.local_addr().expect("it").to_string());
        let machine = Machine {
            root: TempDir::new().expect("a folder"),
            address,
            proxy_address,
        };
        for folder in FOLDERS {
            fs::create_dir_all(machine.path(folder)).expect("a folder");
        }
        let program = env!("CARGO_BIN_EXE_vidette");
        symlink(program, machine.path("/usr/local/bin/vidette")).expect("a link");
        for name in ["vidette.new", "vidette.old"] {
            symlink(program, machine.root.path().join(name)).expect("a link");
        }
        machine.add_program("systemctl", &SYSTEMCTL.replace("COMMAND", exec_start));
        machine.add_program("journalctl", JOURNALCTL);
        machine
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn path(&self, of_page: &str) -> PathBuf {
        self.root.path().join(of_page.trim_start_matches('/'))
    }

    fn add_program(&self, name: &str, script: &str) {
        let path = self.path("/usr/local/bin").join(name);
        fs::write(&path, self.fit(script)).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    }

    /// The page's commands, as they are on this machine.
    fn fit(&self, text: &str) -> String {
        let root = self.root.path().display().to_string();
        let text = text.replace(ADDRESS, &self.address);
        let mut text = text.replace(PROXY_ADDRESS, &self.proxy_address);
        for folder in FOLDERS {
            text = text.replace(folder, &format!("{root}{folder}"));
        }
        let user = User::from_uid(getuid()).ok().flatten();
        let user = user.map_or("root".to_owned(), |user| user.name);
        text.replace("ROOT", &root)
            .replace("ADDRESS", &self.address)
            .replace("-o vidette", &format!("-o {user}"))
    }

    /// Runs commands until one fails; gives what they print.
    pub(crate) fn run(&self, commands: &str) -> Result<String, String> {
        let own = self.path("/usr/local/bin").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let script = format!("set -euo pipefail\n{}", self.fit(commands));
        let mut bash = Command::new("timeout");
        bash.args(["20", "bash", "-c", &script])
            .current_dir(self.root.path())
            .env("PATH", format!("{own}:{path}"))
            .stdin(Stdio::null());
        let Output {
            status,
            stdout,
            stderr,
        } = bash.output().map_err(|e| e.to_string())?;
        let printed = String::from_utf8_lossy(&stdout).into_owned();
        if status.success() {
            return Ok(printed);
        }
        let errors = String::from_utf8_lossy(&stderr);
        Err(format!("{status}\n{printed}{errors}{}", self.journal()))
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.root.path().join("journal")).unwrap_or_default()
    }

    /// Of what `systemctl` has started, or a page's own commands.
    fn pids(root: &Path) -> impl Iterator<Item = i32> {
        let files = ["pid", "vidette.pid", "nginx.pid"].map(|name| root.join(name));
        let texts = files.into_iter().flat_map(fs::read_to_string);
        texts.filter_map(|text| text.trim().parse().ok())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for pid in Self::pids(self.root.path()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}
