//! A browser's processes, with a profile of their own; all are ended when this is dropped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(super) struct BrowserProcess {
    child: Child,
    pub(super) profile: TempDir,
}

impl BrowserProcess {
    /// Starts a program that uses this profile; what becomes of its output is the caller's to say.
    pub(super) fn start(command: &mut Command, profile: TempDir) -> Self {
        // A group of its own, which all that it starts join, so that they can be ended together.
        let complaints = File::create(complaints_file(profile.path())).expect("a file");
        let command = command
            .stdin(Stdio::null())
            .stderr(complaints)
            .process_group(0);
        let child = command.spawn();
        let child = child.unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        BrowserProcess { child, profile }
    }

    /// What it prints, once, where that is piped.
    pub(super) fn take_output(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("a pipe")
    }

    /// How it has ended, if it has, and what it said on its standard error.
    pub(super) fn complaints(&mut self) -> String {
        let said = fs::read(complaints_file(self.profile.path())).unwrap_or_default();
        format!(
            "{:?}: {}",
            self.child.try_wait(),
            String::from_utf8_lossy(&said)
        )
    }
}

fn complaints_file(profile: &Path) -> PathBuf {
    profile.join("complaints.log")
}

impl Drop for BrowserProcess {
    fn drop(&mut self) {
        let group = Pid::from_raw(-i32::try_from(self.child.id()).expect("a pid"));
        let _ = kill(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
