//! Are the addresses free, and if not, who has them?

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::finding::Finding;
use crate::config::ListenAddress;

/// A socket that listens, in /proc/net/tcp.
const LISTENS: &str = "0A";

pub(super) fn look(address: &ListenAddress) -> Finding {
    match address {
        ListenAddress::Tcp(socket) => look_at_port(*socket),
        ListenAddress::Every(port) => look_at_port((Ipv6Addr::UNSPECIFIED, *port).into()),
        ListenAddress::Unix(path) if UnixStream::connect(path).is_ok() => Finding::warning(
            "address",
            format!("{address} is in use"),
            "if that is no gateway of this configuration, name another path in listen",
        ),
        ListenAddress::Unix(_) => Finding::good("address", format!("{address} is free")),
    }
}

fn look_at_port(address: SocketAddr) -> Finding {
    let Err(error) = TcpListener::bind(address) else {
        return Finding::good("address", format!("{address} is free"));
    };
    if error.kind() != ErrorKind::AddrInUse {
        return Finding::problem(
            "address",
            format!("{address}: {error}"),
            "choose an address of this machine, and a port above 1023 where the gateway is not \
             root",
        );
    }
    match holder(address.port()) {
        Some(name) if name.starts_with("vidette ") => Finding::good(
            "address",
            format!("{address} has a gateway already: {name}"),
        ),
        holder => Finding::problem(
            "address",
            match holder {
                Some(name) => format!("{address} is taken by {name}"),
                None => format!("{address} is taken by a program of another user"),
            },
            "end that program, or choose another port in listen",
        ),
    }
}

/// `NAME (pid N)` of the process that listens at a port, where this user may see it.
fn holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .find_map(|path| {
            let sockets = fs::read_to_string(path).ok()?;
            sockets
                .lines()
                .find_map(|line| Some(inode_at(line, port)?.to_owned()))
        })?;
    let socket = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    // Without `self`, which is this command.
    let is_pid = |process: &fs::DirEntry| process.file_name().to_string_lossy().parse::<u32>();
    let processes = processes.filter(|process| is_pid(process).is_ok());
    let mut processes = processes.map(|process| process.path());
    let process = processes.find(|process| has_open(process, &socket))?;
    let name = fs::read_to_string(process.join("comm")).ok()?;
    let pid = process.file_name()?.to_string_lossy().into_owned();
    Some(format!("{} (pid {pid})", name.trim()))
}

fn inode_at(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local_port = fields.get(1)?.rsplit(':').next()?;
    let is_this = u16::from_str_radix(local_port, 16) == Ok(port) && fields[3] == LISTENS;
    is_this.then_some(*fields.get(9)?)
}

fn has_open(process: &Path, socket: &str) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .flatten()
        .any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn who_has_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let finding = look(&address.into());
        assert_eq!(finding.level, Level::Problem);
        let pid = format!("(pid {})", std::process::id());
        assert!(finding.to_string().contains(&pid), "{finding}");
        drop(listener);
        assert_eq!(look(&address.into()).level, Level::Good);
    }
}
