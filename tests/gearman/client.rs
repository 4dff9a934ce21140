//! Gearman packets by hand: what no library would send, and what a client sees of an answer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::common::gateway::PATIENCE;

pub(crate) const SUBMIT_JOB: u32 = 7;
pub(crate) const SUBMIT_JOB_BG: u32 = 18;
const JOB_CREATED: u32 = 8;
const OPTION_REQ: u32 = 26;
const OPTION_RES: u32 = 27;

pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a job server");
        stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
        Client(stream)
    }

    fn send(&mut self, kind: u32, arguments: &[&[u8]]) {
        let body = arguments.join(&0);
        let length = u32::try_from(body.len()).expect("a length");
        let packet = [
            b"\0REQ",
            &kind.to_be_bytes()[..],
            &length.to_be_bytes(),
            &body,
        ]
        .concat();
        self.0.write_all(&packet).expect("it is sent");
    }

    /// The next packet.
    pub(crate) fn answer(&mut self) -> (u32, Vec<u8>) {
        let mut head = [0; 12];
        self.0.read_exact(&mut head).expect("an answer");
        let number =
            |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let mut body = vec![0; number(8) as usize];
        self.0.read_exact(&mut body).expect("its body");
        (number(4), body)
    }

    /// Submits a job of the function `getmsg`; gives its handle.
    pub(crate) fn submit(&mut self, kind: u32, unique: &str, workload: &[u8]) -> String {
        self.send(kind, &[b"getmsg", unique.as_bytes(), workload]);
        let (answer, handle) = self.answer();
        assert_eq!(answer, JOB_CREATED);
        String::from_utf8(handle).expect("a handle")
    }

    /// Asks to be notified of exceptions, too.
    pub(crate) fn wants_exceptions(&mut self) {
        self.send(OPTION_REQ, &[b"exceptions"]);
        assert_eq!(self.answer().0, OPTION_RES);
    }

    /// What the server says about a function.
    pub(crate) fn status_of(&mut self, function: &str) -> FunctionStatus {
        self.0.write_all(b"status\n").expect("it is sent");
        let mut text = Vec::new();
        while !text.ends_with(b".\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("an answer");
            text.push(byte[0]);
        }

        // NAME, jobs, jobs in hand, workers; nothing of a function that nobody has named.
        let text = String::from_utf8(text).expect("text");
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(function)?.strip_prefix('\t'));
        let number = |text: &str| text.parse().expect("a number");
        let numbers: Vec<u64> =
            line.map_or(vec![0; 3], |line| line.split('\t').map(number).collect());
        FunctionStatus {
            jobs: numbers[0],
            workers: numbers[2],
        }
    }
}

/// Jobs of a function that are waiting or in hand, and workers for it.
pub(crate) struct FunctionStatus {
    pub(crate) jobs: u64,
    pub(crate) workers: u64,
}
