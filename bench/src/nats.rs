//! Publishing to NATS JetStream, for comparison: one event, then the wait for its acknowledgement.
//!
//! As much of NATS' protocol as that needs. Invariant: a publisher waits for one acknowledgement at
//! a time, as a publisher over HTTP waits for its answer.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use super::address::Address;
use crate::limits;

/// Without headers and replies to every line, which nobody here would read.
pub(crate) const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":false}\r\n";
const LINE_END: &[u8] = b"\r\n";

pub(crate) struct NatsPublisher {
    stream: TcpStream,
    inbox: String,
    /// What has come and was not used yet.
    bytes: Vec<u8>,
    request: Vec<u8>,
}

impl NatsPublisher {
    pub(crate) fn connect(to: &Address) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to.socket, limits::ANSWER_WAIT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limits::ANSWER_WAIT))?;

        // A subject of its own, on which nothing but its acknowledgements arrives.
        let inbox = format!("_INBOX.{:016x}", fastrand::u64(..));
        let mut publisher = NatsPublisher {
            stream,
            bytes: Vec::new(),
            request: Vec::new(),
            inbox,
        };
        let inbox = &publisher.inbox;
        let greeting = format!("{CONNECT}SUB {inbox} 1\r\nPING\r\n");
        publisher.stream.write_all(greeting.as_bytes())?;
        publisher.until("PONG")?;
        Ok(publisher)
    }

    /// Publishes an event. It is kept by JetStream once this returns.
    pub(crate) fn publish(&mut self, subject: &str, payload: &[u8]) -> io::Result<()> {
        let (inbox, length) = (&self.inbox, payload.len());
        let mut request = std::mem::take(&mut self.request);
        request.clear();
        request.extend_from_slice(format!("PUB {subject} {inbox} {length}\r\n").as_bytes());
        request.extend_from_slice(payload);
        request.extend_from_slice(LINE_END);
        self.stream.write_all(&request)?;
        self.request = request;

        // `MSG subject sid length`, then the acknowledgement: `{"stream":…,"seq":…}`.
        let head = self.until("MSG")?;
        let length = head.rsplit(' ').next().and_then(|word| word.parse().ok());
        let length = length.ok_or_else(|| io::Error::other(format!("unexpected: {head}")))?;
        let answer = self.take(length)?;
        if answer.contains("\"error\"") {
            return Err(io::Error::other(answer));
        }
        Ok(())
    }

    /// Reads lines up to one that begins so.
    fn until(&mut self, wanted: &str) -> io::Result<String> {
        loop {
            let line = self.line()?;
            if line.starts_with(wanted) {
                return Ok(line);
            }
            match line.split(' ').next() {
                Some("-ERR") => return Err(io::Error::other(line)),
                Some("PING") => self.stream.write_all(b"PONG\r\n")?,
                _ => {}
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.bytes, LINE_END) {
                return Ok(self.text(end));
            }
            if self.bytes.len() > limits::MAX_HEAD_BYTES {
                return Err(io::Error::other("a line without an end"));
            }
            self.read_more()?;
        }
    }

    /// So many bytes, and the end of their line.
    fn take(&mut self, length: usize) -> io::Result<String> {
        while self.bytes.len() < length + LINE_END.len() {
            self.read_more()?;
        }
        Ok(self.text(length))
    }

    /// Takes a text from the front, with the line's end behind it.
    fn text(&mut self, end: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end + LINE_END.len());
        text
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        let count = self.stream.read(&mut chunk)?;
        if count == 0 {
            return Err(io::Error::other("the server closed without an answer"));
        }
        self.bytes.extend_from_slice(&chunk[..count]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    const ACCEPTED: &str = r#"{"stream":"BENCH","seq":1}"#;
    const REFUSED: &str = r#"{"error":{"code":503,"description":"no space"}}"#;

    /// A server that answers each event in two parts, a ping before them.
    fn server(answers: &'static [&str]) -> (Address, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a publisher");
            let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
            stream.write_all(b"INFO {}\r\n").expect("it is sent");
            let mut next = |wanted: &str| {
                let found = lines.find(|line| line.as_ref().is_ok_and(|l| l.starts_with(wanted)));
                found.expect("a line").expect("text")
            };
            next("PING");
            stream.write_all(b"PONG\r\n").expect("it is sent");
            for answer in answers {
                next("PUB a.b _INBOX.");
                assert_eq!(next(""), "payload");
                let length = answer.len();
                let (first, second) = answer.split_at(5);
                let head = format!("PING\r\nMSG _INBOX.x 1 {length}\r\n{first}");
                stream.write_all(head.as_bytes()).expect("it is sent");
                next("PONG");
                let rest = format!("{second}\r\n");
                stream.write_all(rest.as_bytes()).expect("it is sent");
            }
        });
        let address = Address::parse(&format!("nats://{address}")).expect("an address");
        (address, thread)
    }

    #[test]
    fn a_publisher_waits_for_the_acknowledgement_of_each_event() {
        let (address, thread) = server(&[ACCEPTED, REFUSED]);
        let mut publisher = NatsPublisher::connect(&address).expect("it connects");
        publisher.publish("a.b", b"payload").expect("it is kept");
        let error = publisher.publish("a.b", b"payload").expect_err("an error");
        assert!(error.to_string().contains("no space"), "{error}");
        thread.join().expect("the server saw what it expected");
    }
}
