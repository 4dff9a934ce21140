//! One request and its answer, on a blocking connection.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use super::address::{Address, Fill};
use super::answer::Answer;
use crate::limits;

pub(crate) fn connect(to: &Address) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to.socket, limits::ANSWER_WAIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(limits::ANSWER_WAIT))?;
    Ok(stream)
}

/// Gives the answer if it is a 2xx.
pub(crate) fn exchange<'a>(
    connection: &mut TcpStream,
    request: &[u8],
    bytes: &'a mut Vec<u8>,
) -> io::Result<Answer<'a>> {
    connection.write_all(request)?;
    bytes.clear();
    let mut chunk = [0; 8192];
    while Answer::read(bytes).map_err(io::Error::other)?.is_none() {
        let count = connection.read(&mut chunk)?;
        if count == 0 {
            return Err(io::Error::other("closed without an answer"));
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
    let answer = Answer::read(bytes).map_err(io::Error::other)?;
    let answer = answer.ok_or_else(|| io::Error::other("an answer that has changed"))?;
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    Err(io::Error::other(format!(
        "answered {} {}",
        answer.status,
        String::from_utf8_lossy(answer.body)
    )))
}

/// `GET` of a JSON answer.
pub(crate) fn get_json(address: &Address) -> io::Result<serde_json::Value> {
    let path = address.path(Fill {
        run: 0,
        topic: 0,
        cursor: "",
    });
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", address.authority);
    let mut bytes = Vec::new();
    let answer = exchange(&mut connect(address)?, request.as_bytes(), &mut bytes)?;
    Ok(serde_json::from_slice(answer.body)?)
}
