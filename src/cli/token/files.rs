//! Files with something secret in them, and randomness.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::cli::{CommandResult, Failure};
use crate::limits;

/// For its owner's eyes only.
const PRIVATE: u32 = 0o600;
/// For everybody to read.
const PUBLIC: u32 = 0o644;

/// Random bytes that nobody can guess, as a text of letters, digits, - and _.
pub(super) fn random_text(bytes: usize) -> Result<String, Failure> {
    let mut random = vec![0; bytes];
    rand::fill(&mut random).map_err(|_| Failure::new("the system has no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// Writes a new file for its owner's eyes only.
pub(super) fn write_private(path: &Path, text: &str) -> CommandResult {
    write_new(path, text, PRIVATE)
}

/// Writes a new file that everybody may read.
pub(super) fn write_public(path: &Path, text: &str) -> CommandResult {
    write_new(path, text, PUBLIC)
}

fn write_new(path: &Path, text: &str, mode: u32) -> CommandResult {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        // It may be the only copy of a key that is in use from now on.
        file.sync_all()
    });
    written.map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        // What was signed with the old one would be good no more.
        ErrorKind::AlreadyExists => Failure::usage(format!(
            "{path} is there already and is not written over; name another file, or remove it"
        )),
        _ => Failure::new(format!("{path}: {error}")),
    }
}

/// The bytes of a key's file, less one newline at the end.
pub(super) fn read_key(path: &Path) -> Result<Vec<u8>, Failure> {
    let opened = File::open(path);
    let bytes = opened.and_then(|file| read_bounded(file, limits::MAX_KEY_FILE_BYTES));
    // A wrong path is a wrong flag.
    bytes.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// A key or a token from a file, or from standard input for `-`, less one newline at the end.
pub(super) fn read_input(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return read_key(path);
    }
    let read = read_bounded(io::stdin(), limits::MAX_KEY_FILE_BYTES);
    read.map_err(|error| Failure::new(format!("failed to read standard input: {error}")))
}

fn read_bounded(from: impl io::Read, most_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most_bytes {
        let text = format!("it has more than {most_bytes} bytes; is it a key or a token?");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(bytes)
}

/// Prints a line on standard output.
pub(super) fn print(text: &str) -> CommandResult {
    match writeln!(io::stdout(), "{text}") {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(error)),
        _ => Ok(()),
    }
}
