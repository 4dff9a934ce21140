//! One socket that is never waited for: connecting, reading all that is there, writing what it
//! takes.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Wire, With};

/// A socket and the protocol on it.
pub(crate) struct Connection {
    pub(crate) socket: Option<TcpStream>,
    is_connected: bool,
    pub(crate) is_opening: bool,
    /// Broke before publishing began.
    pub(crate) is_excluded: bool,
    out: Vec<u8>,
    pub(crate) wire: Box<dyn Wire>,
    /// It hangs up after so many more bytes.
    pub(crate) hangs_up_after: Option<usize>,
}

impl Connection {
    pub(crate) fn new(wire: Box<dyn Wire>) -> Self {
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
    pub(crate) fn hang_up(&mut self) -> Option<TcpStream> {
        (self.is_connected, self.hangs_up_after) = (false, None);
        self.out.clear();
        self.wire.hang_up();
        self.socket.take()
    }

    pub(crate) fn serve(
        &mut self,
        event: &mio::event::Event,
        buffer: &mut [u8],
        with: &mut With<'_>,
    ) -> Result<(), String> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        if !self.is_connected {
            if let Some(fault) = socket.take_error().map_err(|e| e.to_string())? {
                return Err(format!("cannot connect: {fault}"));
            }
            if !event.is_writable() {
                return Ok(());
            }
            self.is_connected = true;
            self.wire.begin(&mut self.out);
        }
        self.flush()?;
        self.read(event.is_read_closed(), buffer, with)
    }

    /// Events tell of a change only: all that is there has to be read.
    fn read(
        &mut self,
        is_closed: bool,
        buffer: &mut [u8],
        with: &mut With<'_>,
    ) -> Result<(), String> {
        loop {
            let Some(socket) = &mut self.socket else {
                return Ok(());
            };
            let most = self
                .hangs_up_after
                .map_or(buffer.len(), |left| left.min(buffer.len()));
            match socket.read(&mut buffer[..most]) {
                Ok(0) => return Err("closed by the server".to_owned()),
                Ok(count) => {
                    self.wire.take(&buffer[..count], with)?;
                    self.out.append(with.out);
                    self.flush()?;
                    self.hangs_up_after = self.hangs_up_after.map(|left| left - count);
                    if (count < most && !is_closed) || self.hangs_up_after == Some(0) {
                        return Ok(());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }

    /// What the socket does not take is written when it tells that it is writable.
    fn flush(&mut self) -> Result<(), String> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        while !self.out.is_empty() {
            match socket.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        Ok(())
    }
}

/// Begins to connect; loopback connections come from 127.0.0.1, 127.0.0.2, … in turn.
pub(crate) fn connect(to: SocketAddr, at: usize, sources: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    let source = u32::try_from(at).unwrap_or_default() % sources;
    if source > 0 && to.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) {
        let from = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + source);
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    match socket.connect(&to.into()) {
        Err(e) if e.kind() != ErrorKind::WouldBlock && e.raw_os_error() != Some(EINPROGRESS) => {
            Err(e)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// A connection that is being made (errno of Linux).
const EINPROGRESS: i32 = 115;
