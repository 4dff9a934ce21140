//! The scripted server: accepts connections and answers the n-th request as the scenario's n-th
//! exchange says.
//!
//! A thread for each connection; all end when the record says that the scenario is over.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::answer::{After, Answering};
use crate::asked::differences;
use crate::record::Record;
use crate::scenario::{Exchange, Scenario};
use crate::wire::{Reader, Request, ids};

/// A server for one scenario; its address is known before it listens.
#[derive(Debug)]
pub(crate) struct Server {
    socket: Socket,
    address: SocketAddr,
    exchanges: Mutex<Queue>,
    record: Arc<Record>,
}

#[derive(Debug)]
struct Queue {
    exchanges: Vec<Exchange>,
    next: usize,
    served: usize,
}

impl Server {
    /// Takes a free port of the loopback; connections are refused until `listen`.
    pub(crate) fn bind(scenario: &Scenario, record: Arc<Record>) -> io::Result<Arc<Self>> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?;
        let address = address.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;

        let exchanges = scenario.exchanges.clone();
        let exchanges = Mutex::new(Queue {
            exchanges,
            next: 0,
            served: 0,
        });
        Ok(Arc::new(Self {
            socket,
            address,
            exchanges,
            record,
        }))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts from here on.
    pub(crate) fn listen(self: &Arc<Self>) -> io::Result<()> {
        self.socket.listen(128)?;
        let listener: TcpListener = self.socket.try_clone()?.into();
        let server = Arc::clone(self);

        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if server.record.look(|seen| seen.over) {
                    return;
                }
                if let Ok(stream) = stream {
                    server.serve_in_thread(number, stream);
                }
            }
        });
        Ok(())
    }

    /// Ends the accepting thread, after the record says that it is over.
    pub(crate) fn stop(&self) {
        // Nobody listens where the scenario never came to it; then there is no thread either.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }

    /// What of the script was never asked for.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let queue = self
            .exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut left = Vec::new();

        for (at, exchange) in queue.exchanges.iter().enumerate().skip(queue.next) {
            let served = if at == queue.next { queue.served } else { 0 };
            if !exchange.optional && served < exchange.times {
                let path = exchange.asked.path.as_deref().unwrap_or("any");
                left.push(format!("exchange {at} ({path}) was never asked for"));
            }
        }
        left
    }

    fn serve_in_thread(self: &Arc<Self>, number: usize, stream: TcpStream) {
        let server = Arc::clone(self);
        server.record.change(|seen| seen.open.insert(number));

        thread::spawn(move || {
            // An error is a connection that the client has left, which it may.
            let _ = server.serve(number, stream);
            server.record.change(|seen| {
                seen.idle.remove(&number);
                seen.open.remove(&number);
            });
        });
    }

    fn serve(&self, number: usize, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // So small that a reader that stops reading is noticed soon.
        socket2::SockRef::from(&stream).set_send_buffer_size(64 << 10)?;
        let mut reader = Reader::new(stream.try_clone()?);
        let mut answering = Answering::new(stream, &self.record);

        loop {
            self.record.change(|seen| seen.idle.insert(number));
            let Some(mut request) = reader.head()? else {
                return Ok(());
            };
            self.record.change(|seen| seen.idle.remove(&number));
            let ndjson = request
                .headers
                .get("content-type")
                .is_some_and(|kind| kind.starts_with("application/x-ndjson"));
            if !ndjson {
                let body = reader.body()?;
                if !body.is_empty() {
                    request.ids = ids(&body);
                }
            }

            let Some(exchange) = self.next_exchange(&request) else {
                return self.unexpected(&request);
            };
            if ndjson {
                request.ids = ids(&reader.lines(first_lines(&exchange))?);
            }
            self.check(&exchange, request);
            if answering.perform(&exchange.then, &mut reader)? == After::Closed {
                return Ok(());
            }
            // What is left of a streamed body is not the next request.
            reader.body()?;
        }
    }

    fn next_exchange(&self, request: &Request) -> Option<Exchange> {
        let mut queue = self
            .exchanges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);

        loop {
            let exchange = queue.exchanges.get(queue.next)?.clone();
            let used_up = queue.served >= exchange.times;
            if used_up || (exchange.optional && !fits(&exchange, request)) {
                queue.next += 1;
                queue.served = 0;
                continue;
            }
            queue.served += 1;
            return Some(exchange);
        }
    }

    fn check(&self, exchange: &Exchange, request: Request) {
        self.record.change(|seen| {
            let number = seen.requests.len();
            for wrong in differences(&exchange.asked, &request, &seen.requests) {
                seen.wrong.push(format!("request {number}: {wrong}"));
            }
            seen.requests.push(request);
        });
    }

    fn unexpected(&self, request: &Request) -> io::Result<()> {
        let Request {
            method,
            path,
            parameters,
            ..
        } = request;
        self.record.change(|seen| {
            let wrong = format!("a request more than expected: {method} {path} {parameters:?}");
            if !seen.wrong.contains(&wrong) {
                seen.wrong.push(wrong);
            }
        });
        Err(io::ErrorKind::Other.into())
    }
}

fn fits(exchange: &Exchange, request: &Request) -> bool {
    let same = |expected: &Option<String>, found: &String| {
        expected.as_ref().is_none_or(|expected| expected == found)
    };
    let is_same =
        same(&exchange.asked.path, &request.path) && same(&exchange.asked.method, &request.method);
    // A request for another position is meant for the exchange behind it.
    let cursor = request.cursor().unwrap_or_default();
    let allowed = exchange.asked.after.as_ref();
    is_same && allowed.is_none_or(|allowed| allowed.iter().any(|one| one.as_deref() == cursor))
}

/// How many lines of a stream are read before it is checked.
fn first_lines(exchange: &Exchange) -> usize {
    exchange.asked.events.unwrap_or(1)
}

#[cfg(test)]
mod tests;
