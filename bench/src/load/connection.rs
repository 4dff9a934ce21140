//! One socket that never blocks: connecting, reading everything that has come, and writing as much
//! as the socket accepts.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use super::wire::{Wire, WireContext};

/// A socket and the protocol on it.
pub(super) struct Connection {
    pub(super) socket: Option<TcpStream>,
    is_connected: bool,
    pub(super) is_opening: bool,
    /// Broke before publishing began.
    pub(super) is_excluded: bool,
    out: Vec<u8>,
    pub(super) wire: Box<dyn Wire>,
    /// It hangs up after so many more bytes.
    pub(super) hangs_up_after: Option<usize>,
}

/// What one read has brought.
enum ReadOutcome {
    Bytes(usize),
    Nothing,
    Again,
}

impl Connection {
    pub(super) fn new(wire: Box<dyn Wire>) -> Self {
        Connection {
            socket: None,
            is_connected: false,
            is_opening: false,
            is_excluded: false,
            out: Vec::new(),
            wire,
            hangs_up_after: None,
        }
    }

    /// Hangs up, to be connected again.
    pub(super) fn hang_up(&mut self) -> Option<TcpStream> {
        // What was not sent belongs to the old connection; the new one begins with a request.
        (self.is_connected, self.hangs_up_after) = (false, None);
        self.out.clear();
        self.wire.hang_up();
        self.socket.take()
    }

    pub(super) fn serve(
        &mut self,
        event: &mio::event::Event,
        buffer: &mut [u8],
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        // A socket is connected once it is writable; until then there is nothing to read.
        if !self.is_connected && !self.begin(event.is_writable())? {
            return Ok(());
        }

        // The rest of a request goes out first, because there is no answer without it.
        self.flush()?;
        self.read(event.is_read_closed(), buffer, context)
    }

    /// Sends the first request, if the socket is connected. Returns whether it is.
    fn begin(&mut self, is_writable: bool) -> Result<bool, String> {
        let Some(socket) = &self.socket else {
            return Ok(false);
        };

        // A refused connection shows as an error of the socket.
        if let Some(error) = socket.take_error().map_err(|e| e.to_string())? {
            return Err(format!("failed to connect: {error}"));
        }
        if is_writable {
            self.is_connected = true;
            self.wire.begin(&mut self.out);
        }
        Ok(is_writable)
    }

    /// Reads everything that has come, because an event reports a change only.
    fn read(
        &mut self,
        is_closed: bool,
        buffer: &mut [u8],
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        loop {
            // A reader that is to hang up reads up to the very byte at which it does.
            let left = self.hangs_up_after.unwrap_or(usize::MAX);
            let most = left.min(buffer.len());
            match self.read_once(&mut buffer[..most])? {
                ReadOutcome::Nothing => return Ok(()),
                ReadOutcome::Again => {}
                ReadOutcome::Bytes(count) => {
                    self.take(&buffer[..count], context)?;

                    // Less than asked for means that no more has come, unless the end has.
                    if (count < most && !is_closed) || self.hangs_up_after == Some(0) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> Result<ReadOutcome, String> {
        let Some(socket) = &mut self.socket else {
            return Ok(ReadOutcome::Nothing);
        };
        match socket.read(buffer) {
            // A reader is to be served to the end of the run, so a close by the server is an error.
            Ok(0) => Err("closed by the server".to_owned()),
            Ok(count) => Ok(ReadOutcome::Bytes(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(ReadOutcome::Nothing),
            // A signal says nothing about the socket.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(ReadOutcome::Again),
            Err(error) => Err(error.to_string()),
        }
    }

    fn take(&mut self, bytes: &[u8], context: &mut WireContext<'_>) -> Result<(), String> {
        self.wire.take(bytes, context)?;

        // An answer, such as the next poll, goes out before more is read.
        self.out.append(context.out);
        self.flush()?;
        self.hangs_up_after = self.hangs_up_after.map(|left| left - bytes.len());
        Ok(())
    }

    /// Writes as much as the socket accepts; the rest follows when it is writable again.
    fn flush(&mut self) -> Result<(), String> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        while !self.out.is_empty() {
            match socket.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}

/// Begins to connect; loopback connections come from 127.0.0.1, 127.0.0.2, … in turn.
pub(super) fn connect(to: SocketAddr, at: usize, sources: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;

    // One source address has too few ports for all of them.
    let source = u32::try_from(at).unwrap_or_default() % sources;
    if source > 0 && to.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        bind(&socket, source)?;
    }

    // Whether it succeeds shows later, when the socket is writable.
    match socket.connect(&to.into()) {
        Err(error) if !is_in_progress(&error) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

fn bind(socket: &Socket, source: u32) -> io::Result<()> {
    let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + source);

    // Only the address is chosen here; with port 0 the kernel finds a free port.
    socket.bind(&SocketAddr::from((from, 0)).into())
}

fn is_in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(EINPROGRESS)
}

/// A connection that is being made (errno of Linux).
const EINPROGRESS: i32 = 115;
