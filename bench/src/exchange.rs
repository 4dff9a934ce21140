//! One request and its answer, on a blocking connection.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use super::address::{Address, AddressValues};
use super::answer::HttpAnswer;
use crate::limits;

pub(crate) fn connect(to: &Address) -> io::Result<TcpStream> {
    // No wait without a bound: a server that hangs is a result, not a reason to hang.
    let stream = TcpStream::connect_timeout(&to.socket, limits::ANSWER_WAIT)?;

    // The kernel must not hold a small request back to join it with the next one (Nagle).
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limits::ANSWER_WAIT))?;
    Ok(stream)
}

/// Sends a request. Returns its answer if that is a 2xx.
pub(crate) fn exchange<'a>(
    connection: &mut TcpStream,
    request: &[u8],
    bytes: &'a mut Vec<u8>,
) -> io::Result<HttpAnswer<'a>> {
    connection.write_all(request)?;
    read_answer(connection, bytes)?;

    // Parsed once more, because the answer borrows the buffer that reading has filled.
    let answer = HttpAnswer::read(bytes).map_err(io::Error::other)?;
    let answer = answer.ok_or_else(|| io::Error::other("an incomplete answer"))?;
    if (200..300).contains(&answer.status) {
        Ok(answer)
    } else {
        Err(refused(&answer))
    }
}

/// Reads until the answer is complete.
fn read_answer(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    // The buffer is the caller's, so that no request has to allocate one.
    bytes.clear();
    let mut chunk = [0; 8192];
    while HttpAnswer::read(bytes).map_err(io::Error::other)?.is_none() {
        let count = connection.read(&mut chunk)?;
        if count == 0 {
            return Err(io::Error::other("the server closed without an answer"));
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
    Ok(())
}

fn refused(answer: &HttpAnswer<'_>) -> io::Error {
    let text = String::from_utf8_lossy(answer.body);
    io::Error::other(format!("answered {} {text}", answer.status))
}

/// `GET` of a JSON answer.
pub(crate) fn get_json(address: &Address) -> io::Result<serde_json::Value> {
    // The address has no values to fill in.
    let path = address.path(AddressValues {
        run: 0,
        topic: 0,
        cursor: "",
    });

    // The connection is not used again, which the server notices when it is closed.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", address.authority);
    let mut bytes = Vec::new();
    let answer = exchange(&mut connect(address)?, request.as_bytes(), &mut bytes)?;
    Ok(serde_json::from_slice(answer.body)?)
}
