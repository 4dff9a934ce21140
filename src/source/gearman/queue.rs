//! How many jobs wait, by the job server's text protocol on a connection of its own.
//!
//! Invariant: an error here only leaves the number unknown.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits;

/// Jobs of a function that no worker has taken yet.
pub(super) async fn waiting_jobs(server: &str, function: &str) -> Option<u64> {
    let status = timeout(limits::GEARMAN_STATUS_TIMEOUT, status(server)).await;
    let status = status.ok()?.ok()?;
    status.lines().find_map(|line| waiting_in(line, function))
}

async fn status(server: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(b"status\n").await?;

    // The answer ends with a line of one dot.
    let mut stream = stream.take(limits::GEARMAN_STATUS_BYTES);
    let mut answer = Vec::new();
    while !answer.ends_with(b"\n.\n") && stream.read_buf(&mut answer).await? > 0 {}
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Reads `FUNCTION TOTAL RUNNING WORKERS`, separated by tabs.
fn waiting_in(line: &str, function: &str) -> Option<u64> {
    // The tab belongs to the name, or one function's name could be the beginning of another's.
    let numbers = line.strip_prefix(function)?.strip_prefix('\t')?;
    let mut numbers = numbers.split('\t').map(str::parse::<u64>);
    let (total, running) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(total.saturating_sub(running))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_function_is_read() {
        assert_eq!(waiting_in("getmsg\t12\t2\t1", "getmsg"), Some(10));
        assert_eq!(waiting_in("getmsgs\t12\t2\t1", "getmsg"), None);
        assert_eq!(waiting_in(".", "getmsg"), None);
        assert_eq!(waiting_in("getmsg\tmany", "getmsg"), None);
    }
}
