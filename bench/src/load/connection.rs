//! One socket that never blocks: connecting, reading everything that has come, and writing as much
//! as the socket accepts.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use super::pipe::{Pipe, ReadOutcome};
use super::wire::{Wire, WireContext};

/// A socket and the protocol on it.
pub(super) struct Connection {
    pub(super) pipe: Option<Pipe>,
    pub(super) is_opening: bool,
    /// Broke before publishing began.
    pub(super) is_excluded: bool,
    pub(super) wire: Box<dyn Wire>,
    /// It hangs up after so many more bytes.
    pub(super) hangs_up_after: Option<usize>,
}

impl Connection {
    pub(super) fn new(wire: Box<dyn Wire>) -> Self {
        Connection {
            pipe: None,
            is_opening: false,
            is_excluded: false,
            wire,
            hangs_up_after: None,
        }
    }

    /// Hangs up, to be connected again.
    pub(super) fn hang_up(&mut self) -> Option<Pipe> {
        // What was not sent belongs to the old connection; the new one begins with a request.
        self.hangs_up_after = None;
        self.wire.hang_up();
        self.pipe.take()
    }

    pub(super) fn serve(
        &mut self,
        event: &mio::event::Event,
        buffer: &mut [u8],
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        // Of a connection that was closed an event may still be on its way.
        let Some(mut pipe) = self.pipe.take() else {
            return Ok(());
        };

        // Held apart from the protocol, which takes bytes that are borrowed from the pipe.
        let served = self.serve_pipe(&mut pipe, event, buffer, context);
        self.pipe = Some(pipe);
        served
    }

    fn serve_pipe(
        &mut self,
        pipe: &mut Pipe,
        event: &mio::event::Event,
        buffer: &mut [u8],
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        // A socket is connected once it is writable; until then there is nothing to read.
        if !pipe.is_connected && !self.connect(pipe, event.is_writable(), context)? {
            return Ok(());
        }

        // The rest of a request goes out first, because there is no answer without it.
        pipe.flush()?;
        self.read(pipe, event.is_read_closed(), buffer, context)
    }

    /// Sends what comes first, if the socket is connected. Returns whether it is.
    fn connect(
        &mut self,
        pipe: &mut Pipe,
        is_writable: bool,
        context: &mut WireContext<'_>,
    ) -> Result<bool, String> {
        // A refused connection shows as an error of the socket.
        if let Some(error) = pipe.socket.take_error().map_err(|e| e.to_string())? {
            return Err(format!("failed to connect: {error}"));
        }
        if is_writable {
            pipe.is_connected = true;
            self.begin(pipe, context)?;
        }
        Ok(is_writable)
    }

    /// Sends the first request as soon as one can be sent; a handshake comes before it.
    fn begin(&mut self, pipe: &mut Pipe, context: &mut WireContext<'_>) -> Result<(), String> {
        if !pipe.has_begun && pipe.is_open() {
            pipe.has_begun = true;
            self.wire.begin(context.out);
        }
        pipe.send(context.out)
    }

    /// Reads everything that has come, because an event reports a change only.
    fn read(
        &mut self,
        pipe: &mut Pipe,
        is_closed: bool,
        buffer: &mut [u8],
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        loop {
            let most = self.most_of_one_read(pipe, buffer.len());
            match pipe.read_once(&mut buffer[..most])? {
                ReadOutcome::Nothing => return Ok(()),
                ReadOutcome::Again => {}
                ReadOutcome::Bytes(count) => {
                    self.receive(pipe, &buffer[..count], context)?;

                    // Less than asked for means that no more has come, unless the end has.
                    if (count < most && !is_closed) || self.hangs_up_after == Some(0) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// A reader that is to hang up reads up to the very byte at which it does.
    fn most_of_one_read(&self, pipe: &Pipe, buffer_bytes: usize) -> usize {
        // Which byte of the stream an encrypted one belongs to shows only once it is decrypted.
        if pipe.is_encrypted() {
            buffer_bytes
        } else {
            self.left().min(buffer_bytes)
        }
    }

    fn left(&self) -> usize {
        self.hangs_up_after.unwrap_or(usize::MAX)
    }

    fn receive(
        &mut self,
        pipe: &mut Pipe,
        mut bytes: &[u8],
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        if !pipe.is_encrypted() {
            self.take(bytes, context)?;
            return pipe.send(context.out);
        }

        // The session takes a part at a time, and may have an answer of its own to each.
        while !bytes.is_empty() && self.hangs_up_after != Some(0) {
            pipe.take_encrypted(&mut bytes)?;
            self.begin(pipe, context)?;
            self.take_decrypted(pipe, context)?;
        }
        Ok(())
    }

    fn take_decrypted(
        &mut self,
        pipe: &mut Pipe,
        context: &mut WireContext<'_>,
    ) -> Result<(), String> {
        while self.hangs_up_after != Some(0)
            && let Some(bytes) = pipe.decrypted()?
        {
            let count = bytes.len().min(self.left());
            self.take(&bytes[..count], context)?;

            // An answer, such as the next poll, goes out before more is read.
            pipe.consume(count);
            pipe.send(context.out)?;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], context: &mut WireContext<'_>) -> Result<(), String> {
        self.wire.take(bytes, context)?;
        self.hangs_up_after = self.hangs_up_after.map(|left| left - bytes.len());
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
