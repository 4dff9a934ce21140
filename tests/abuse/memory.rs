//! What a process holds, as Linux reports it.

use std::fs;

/// Bytes of a MiB.
pub const MIB: u64 = 1024 * 1024;

/// Resident memory now, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmRSS:")
}

/// The most resident memory since the start of the process or the last [`reset_peak`], in bytes.
pub fn peak_bytes(pid: u32) -> u64 {
    status_bytes(pid, "VmHWM:")
}

/// Begins a new peak at what is resident now, where the kernel allows it.
pub fn reset_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Bytes that the process has handed to `write` since its start: files of the log and temporary
/// files.
pub fn written_bytes(pid: u32) -> u64 {
    number(&format!("/proc/{pid}/io"), "wchar:").unwrap_or(0)
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    number(&format!("/proc/{pid}/status"), field).unwrap_or(0) * 1024
}

/// The first number in the line that begins with `field`; none when the process is gone.
fn number(path: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
