//! Publishers: one connection and one thread each, one request after the other.
//!
//! Event j is due at start + j / rate, and that is the time in its marker: a server that is slow to
//! accept shows in the latency, instead of slowing the test down unseen. At rate 0 the next request
//! is sent once the last is answered, and the marker has the time of sending. Event j belongs to
//! topic j mod topics; batch b to publisher b mod publishers.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::address::{Address, Fill, topic_name};
use super::exchange;
use super::markers::{Marker, now_us};
use super::tally::histogram;
use crate::limits;

#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) run: u32,
    pub(crate) address: Address,
    /// Added to the topics' numbers.
    pub(crate) first_topic: usize,
    pub(crate) topics: usize,
    pub(crate) publishers: u8,
    /// Events a request; more than one go as a JSON array.
    pub(crate) batch: u32,
    /// Events a second over all publishers; 0: as fast as accepted.
    pub(crate) rate: f64,
    pub(crate) events: u64,
    pub(crate) duration: Duration,
    pub(crate) payload_bytes: usize,
}

/// Publishers at work.
pub(crate) struct Publishing {
    stop: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Published>>,
}

/// What has been published.
pub(crate) struct Published {
    /// Events answered with a 2xx, by topic.
    pub(crate) accepted: Vec<u64>,
    pub(crate) faults: u64,
    pub(crate) first_fault: Option<String>,
    pub(crate) answer_us: Histogram<u64>,
    pub(crate) start_us: u64,
    pub(crate) end_us: u64,
}

impl Published {
    fn new(topics: usize, start_us: u64) -> Self {
        let accepted = vec![0; topics];
        Published {
            accepted,
            faults: 0,
            first_fault: None,
            answer_us: histogram(),
            start_us,
            end_us: start_us,
        }
    }

    pub(crate) fn events(&self) -> u64 {
        self.accepted.iter().sum()
    }

    fn add(mut self, other: Published) -> Self {
        self.accepted
            .iter_mut()
            .zip(other.accepted)
            .for_each(|(all, one)| *all += one);
        self.faults += other.faults;
        self.first_fault = self.first_fault.or(other.first_fault);
        self.answer_us += other.answer_us;
        self.end_us = self.end_us.max(other.end_us);
        self
    }
}

impl Publishing {
    pub(crate) fn start(plan: &Plan) -> Self {
        let (stop, accepted) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let start_us = now_us() + 20_000; // by then all threads are there
        let thread = |number| {
            let mut publisher = Publisher {
                plan: plan.clone(),
                number,
                stop: stop.clone(),
                told: accepted.clone(),
                sequences: vec![0; plan.topics],
                connection: None,
                published: Published::new(plan.topics, start_us),
            };
            std::thread::spawn(move || {
                publisher.run();
                publisher.published
            })
        };
        let threads = (0..plan.publishers).map(thread).collect();
        Publishing {
            stop,
            accepted,
            threads,
        }
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.threads.iter().any(|thread| !thread.is_finished())
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn finish(self) -> Result<Published, String> {
        let all = self
            .threads
            .into_iter()
            .map(JoinHandle::join)
            .collect::<Result<Vec<_>, _>>();
        let all = all.map_err(|_| "a publisher's thread panicked".to_owned())?;
        all.into_iter()
            .reduce(Published::add)
            .ok_or_else(|| "no publisher".to_owned())
    }
}

struct Publisher {
    plan: Plan,
    number: u8,
    stop: Arc<AtomicBool>,
    told: Arc<AtomicU64>,
    /// The next sequence of each topic.
    sequences: Vec<u32>,
    connection: Option<TcpStream>,
    published: Published,
}

impl Publisher {
    fn run(&mut self) {
        let batch = u64::from(self.plan.batch);
        let until_us = self.published.start_us
            + u64::try_from(self.plan.duration.as_micros()).unwrap_or(u64::MAX / 2);
        let mut first = u64::from(self.number) * batch;
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        while first < self.plan.events && !self.stop.load(Ordering::Relaxed) {
            let due_us = self.wait_for(first);
            let begun_us = now_us();
            if begun_us >= until_us {
                return;
            }
            let count = batch.min(self.plan.events - first);
            request.clear();
            self.write_request(
                &mut request,
                first,
                count,
                if self.plan.rate > 0.0 {
                    due_us
                } else {
                    begun_us
                },
            );
            let sent = self.send(&request, &mut answer);
            self.note(first, count, begun_us, sent);
            if self.published.faults > limits::FAULTS {
                return;
            }
            first += batch * u64::from(self.plan.publishers);
        }
    }

    /// Waits until an event is due, and tells when that was.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time"
    )]
    fn wait_for(&self, event: u64) -> u64 {
        let start_us = self.published.start_us;
        let due_us = if self.plan.rate > 0.0 {
            start_us + (event as f64 * 1e6 / self.plan.rate) as u64
        } else {
            start_us
        };
        std::thread::sleep(Duration::from_micros(due_us.saturating_sub(now_us())));
        due_us
    }

    fn topic(&self, event: u64) -> usize {
        usize::try_from(event % self.plan.topics as u64).unwrap_or_default()
    }

    fn write_request(&mut self, out: &mut Vec<u8>, first: u64, count: u64, due_us: u64) {
        let mut body = Vec::new();
        if self.plan.batch == 1 {
            self.write_payload(&mut body, first, due_us);
        } else {
            for event in first..first + count {
                let topic = topic_name(self.plan.run, self.plan.first_topic + self.topic(event));
                body.push(if event == first { b'[' } else { b',' });
                body.extend_from_slice(format!("{{\"topic\":\"{topic}\",\"data\":\"").as_bytes());
                self.write_payload(&mut body, event, due_us);
                body.extend_from_slice(b"\"}");
            }
            body.push(b']');
        }
        let Plan {
            run,
            address,
            first_topic,
            ..
        } = &self.plan;
        let path = address.path(Fill {
            run: *run,
            topic: first_topic + self.topic(first),
            cursor: "",
        });
        let (authority, length) = (&address.authority, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {length}\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend(body);
    }

    fn write_payload(&mut self, out: &mut Vec<u8>, event: u64, due_us: u64) {
        let topic = self.topic(event);
        let sequence = self.sequences[topic];
        self.sequences[topic] += 1;
        Marker {
            run: self.plan.run,
            publisher: self.number,
            sequence,
            due_us,
        }
        .write(out, self.plan.payload_bytes);
    }

    fn note(&mut self, first: u64, count: u64, begun_us: u64, sent: io::Result<()>) {
        match sent {
            Ok(()) => {
                for event in first..first + count {
                    let topic = self.topic(event);
                    self.published.accepted[topic] += 1;
                }
                self.told.fetch_add(count, Ordering::Relaxed);
                self.published.end_us = now_us();
                self.published
                    .answer_us
                    .saturating_record(self.published.end_us - begun_us);
            }
            Err(fault) => {
                self.published.faults += 1;
                self.published
                    .first_fault
                    .get_or_insert(format!("publisher {}: {fault}", self.number));
                self.connection = None;
            }
        }
    }

    fn send(&mut self, request: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => exchange::connect(&self.plan.address)?,
        };
        let answer = exchange::exchange(&mut connection, request, answer)?;
        if !answer.is_last() {
            self.connection = Some(connection);
        }
        Ok(())
    }
}
