//! One request and its answer, on a blocking connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use rustls::StreamOwned;

use super::access::{Access, Protocol};
use super::address::{Address, AddressValues};
use super::answer::HttpAnswer;
use crate::limits;

/// A connection, encrypted or not.
pub(crate) struct Exchange(Box<dyn ByteStream>);

trait ByteStream: Read + Write + Send {}

impl<S: Read + Write + Send> ByteStream for S {}

pub(crate) fn connect(to: &Address, access: &Access) -> io::Result<Exchange> {
    // No wait without a bound: a server that hangs is a result, not a reason to hang.
    let stream = TcpStream::connect_timeout(&to.socket, limits::ANSWER_WAIT)?;

    // The kernel must not hold a small request back to join it with the next one (Nagle).
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limits::ANSWER_WAIT))?;

    // The handshake is done by the first request.
    Ok(Exchange(match access.session(to, Protocol::Http1)? {
        None => Box::new(stream),
        Some(session) => Box::new(StreamOwned::new(session, stream)),
    }))
}

/// Says in time, and once, that nobody listens there.
pub(crate) fn check_reachable(to: &Address) -> Result<(), String> {
    let reached = TcpStream::connect_timeout(&to.socket, limits::ANSWER_WAIT);
    let why = |error| format!("no server answers at {}: {error}", to.authority);
    reached.map(drop).map_err(why)
}

/// Sends a request. Returns its answer if that is a 2xx.
pub(crate) fn exchange<'a>(
    connection: &mut Exchange,
    request: &[u8],
    bytes: &'a mut Vec<u8>,
) -> io::Result<HttpAnswer<'a>> {
    connection.0.write_all(request)?;
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
fn read_answer(connection: &mut Exchange, bytes: &mut Vec<u8>) -> io::Result<()> {
    // The buffer is the caller's, so that no request has to allocate one.
    bytes.clear();
    let mut chunk = [0; 8192];
    while HttpAnswer::read(bytes).map_err(io::Error::other)?.is_none() {
        let count = connection.0.read(&mut chunk)?;
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
pub(crate) fn get_json(address: &Address, access: &Access) -> io::Result<serde_json::Value> {
    // The address has no values to fill in.
    let path = address.path(AddressValues {
        run: 0,
        topic: 0,
        cursor: "",
    });

    // The connection is not used again, which the server notices when it is closed.
    let (host, authorization) = (&address.authority, access.authorization_line());
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n");
    let (mut connection, mut bytes) = (connect(address, access)?, Vec::new());
    let answer = exchange(&mut connection, request.as_bytes(), &mut bytes)?;
    Ok(serde_json::from_slice(answer.body)?)
}
