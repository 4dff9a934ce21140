//! A socket that never blocks, with TLS on it where the address asks for that.
//!
//! Invariants: what a protocol sends is encrypted at once and goes out as the socket accepts it;
//! what has come is decrypted in place, without a buffer of this side's own.

use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;
use rustls::ClientConnection;

/// A socket, and what it has not accepted yet.
pub(super) struct Pipe {
    pub(super) socket: TcpStream,
    pub(super) is_connected: bool,
    /// The protocol has sent its first request.
    pub(super) has_begun: bool,
    session: Option<Box<ClientConnection>>,
    out: Vec<u8>,
}

/// What one read has brought.
pub(super) enum ReadOutcome {
    Bytes(usize),
    Nothing,
    Again,
}

impl Pipe {
    pub(super) fn new(socket: TcpStream, session: Option<ClientConnection>) -> Self {
        Pipe {
            socket,
            is_connected: false,
            has_begun: false,
            session: session.map(Box::new),
            out: Vec::new(),
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.session.is_some()
    }

    /// Requests may be sent. Without TLS that is so as soon as the socket is connected.
    pub(super) fn is_open(&self) -> bool {
        let session = self.session.as_ref();
        session.is_none_or(|session| !session.is_handshaking())
    }

    /// Reads from the socket, whatever the bytes mean.
    pub(super) fn read_once(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, String> {
        match self.socket.read(buffer) {
            // A reader is to be served to the end of the run, so a close by the server is an error.
            Ok(0) => Err("closed by the server".to_owned()),
            Ok(count) => Ok(ReadOutcome::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(ReadOutcome::Nothing),
            // A signal says nothing about the socket.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(ReadOutcome::Again),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes as many encrypted bytes as the session accepts.
    pub(super) fn take_encrypted(&mut self, bytes: &mut &[u8]) -> Result<(), String> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        session.read_tls(bytes).map_err(|e| e.to_string())?;
        let taken = session.process_new_packets();
        taken.map_err(|error| format!("TLS: {error}"))?;
        Ok(())
    }

    /// The next bytes that have been decrypted, until they are consumed.
    pub(super) fn decrypted(&mut self) -> Result<Option<&[u8]>, String> {
        let session = self.session.as_mut();
        let Some(session) = session else {
            return Ok(None);
        };
        match session.reader().into_first_chunk() {
            // An orderly end is one all the same.
            Ok([]) => Err("closed by the server".to_owned()),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(super) fn consume(&mut self, count: usize) {
        if let Some(session) = &mut self.session {
            session.reader().consume(count);
        }
    }

    /// Sends what a protocol has written, and what TLS itself has to say.
    pub(super) fn send(&mut self, bytes: &mut Vec<u8>) -> Result<(), String> {
        match &mut self.session {
            None => self.out.append(bytes),
            Some(session) => encrypt(session, bytes, &mut self.out)?,
        }
        self.flush()
    }

    /// Writes as much as the socket accepts; the rest follows when it is writable again.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        while !self.out.is_empty() {
            match self.socket.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }

        // Thousands of connections would otherwise each keep the memory of their handshake.
        self.out = Vec::new();
        Ok(())
    }
}

fn encrypt(
    session: &mut ClientConnection,
    bytes: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let written = session.writer().write_all(bytes);
    bytes.clear();
    written.map_err(|error| error.to_string())?;
    while session.wants_write() {
        session.write_tls(out).map_err(|e| e.to_string())?;
    }
    Ok(())
}
