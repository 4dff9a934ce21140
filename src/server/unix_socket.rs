//! A Unix socket to listen on, and its file.
//!
//! Invariants:
//! - a file that somebody listens on, or that is no socket, is never removed;
//! - nobody can connect before the file has the permissions that it is to have;
//! - a listener that ends removes its file, and no other that is there by then.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

use crate::limits;

/// The file of a socket that is listened on; removed with it. It has to be dropped before the
/// socket: until that is closed no other file gets the same number.
pub(super) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

#[derive(PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(file: &Metadata) -> Self {
        FileId {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let file = fs::symlink_metadata(&self.path);
        if file.is_ok_and(|file| FileId::of(&file) == self.id) {
            // Whoever cannot remove it leaves a file that the next start replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at a path. The permissions are the system's default where no mode is given.
pub(super) fn bind(path: &Path, mode: Option<u32>) -> io::Result<(SocketFile, UnixListener)> {
    let socket = new_socket()?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &address)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    let file = SocketFile {
        id: FileId::of(&fs::symlink_metadata(path)?),
        path: path.to_owned(),
    };

    // Before it listens every attempt to connect is refused.
    if let Some(mode) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(limits::ACCEPT_BACKLOG.cast_signed())?;
    Ok((file, UnixListener::from_std(socket.into())?))
}

/// One that never waits: the queue of a program that listens may be full.
fn new_socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Removes the file of a gateway that was killed: nobody listens on it any more.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let text = "a file that is no socket is there; move it away";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    match new_socket()?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "a socket that nobody listens on is replaced");
            fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => {
            let text = "another program listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener as StdListener, UnixStream};

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, PathBuf) {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("v.sock");
        (folder, path)
    }

    fn error_at(path: &Path) -> String {
        bind(path, None).err().expect("an error").to_string()
    }

    #[tokio::test]
    async fn the_file_of_a_dead_program_is_replaced_and_that_of_a_live_one_is_not() {
        let (_folder, path) = folder();
        drop(StdListener::bind(&path).expect("bound"));
        let (file, socket) = bind(&path, None).expect("replaced");
        assert!(UnixStream::connect(&path).is_ok());
        assert_eq!(error_at(&path), "another program listens there");
        assert!(UnixStream::connect(&path).is_ok());
        drop((file, socket));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_of_a_dead_program_is_left_alone() {
        let (_folder, path) = folder();
        fs::write(&path, "precious").expect("a file");
        assert!(error_at(&path).contains("no socket"));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
        fs::remove_file(&path).expect("removed");

        let _datagrams = UnixDatagram::bind(&path).expect("bound");
        assert_eq!(error_at(&path), "another program listens there");
        fs::remove_file(&path).expect("removed");

        std::os::unix::fs::symlink("elsewhere", &path).expect("a link");
        assert!(error_at(&path).contains("no socket"));
        assert!(bind(&path.join("below"), None).is_err());
    }

    #[tokio::test]
    async fn a_program_without_room_for_a_connection_is_alive() {
        let (_folder, path) = folder();
        let full = new_socket().expect("a socket");
        let address = SockAddr::unix(&path).expect("an address");
        full.bind(&address).expect("bound");
        full.listen(0).expect("listens");
        let sockets = (0..4).map(|_| new_socket().expect("a socket"));
        let waiting: Vec<_> = sockets.map(|one| (one.connect(&address), one)).collect();
        assert!(waiting.iter().any(|(connected, _)| connected.is_err()));
        assert_eq!(error_at(&path), "another program listens there");
    }

    #[tokio::test]
    async fn a_file_that_is_another_by_now_is_left_at_the_end() {
        let (_folder, path) = folder();
        let (file, socket) = bind(&path, None).expect("bound");
        fs::remove_file(&path).expect("removed");
        let _other = StdListener::bind(&path).expect("bound");
        drop((file, socket));
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn the_permissions_are_those_that_are_asked_for() {
        let (_folder, path) = folder();
        for mode in [0o600, 0o660, 0o666] {
            let _bound = bind(&path, Some(mode)).expect("bound");
            let is = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(is & 0o777, mode);
        }
    }
}
