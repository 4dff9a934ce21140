//! One publisher: its thread, its connection, its sequences.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{PublishPlan, PublishState, Published};
use crate::address::{AddressValues, topic_name};
use crate::exchange::{self, Exchange};
use crate::limits;
use crate::markers::{Marker, now_us};
use crate::nats::NatsPublisher;

pub(super) struct Publisher {
    plan: PublishPlan,
    number: u8,
    shared: Arc<PublishState>,
    /// The next sequence of each topic.
    sequences: Vec<u32>,
    connection: Option<Exchange>,
    nats: Option<NatsPublisher>,
    /// The line of each request's head that names the caller.
    authorization: String,
    published: Published,
}

/// The events of one request.
#[derive(Clone, Copy)]
struct Batch {
    first: u64,
    count: u64,
}

impl Batch {
    fn events(self) -> std::ops::Range<u64> {
        self.first..self.first + self.count
    }
}

impl Publisher {
    pub(super) fn new(
        plan: PublishPlan,
        number: u8,
        shared: Arc<PublishState>,
        start_us: u64,
    ) -> Self {
        Publisher {
            number,
            shared,
            sequences: vec![0; plan.topics],
            connection: None,
            nats: None,
            authorization: plan.access.authorization_line(),
            published: Published::new(plan.topics, start_us),
            plan,
        }
    }

    pub(super) fn run(mut self) -> Published {
        // Batches are dealt out to the publishers in turn, so each skips those of the others.
        let step = u64::from(self.plan.batch) * u64::from(self.plan.publishers);
        let until_us = self.end_us();
        let mut first = u64::from(self.number) * u64::from(self.plan.batch);

        // The buffers are used again for each request, so that allocating does not show as latency.
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        while self.goes_on(first) {
            let due_us = self.wait_for(first);

            // A backlog is not worked off after the end: the duration is what was asked for.
            let begun_us = now_us();
            if begun_us >= until_us {
                break;
            }
            let batch = self.batch_at(first);
            let marker_us = self.marker_time(due_us, begun_us);
            let sent = self.publish(batch, marker_us, &mut request, &mut answer);
            self.note(batch, begun_us, sent);
            first += step;
        }
        self.published
    }

    /// Sends the events of one request and waits for its answer.
    fn publish(
        &mut self,
        batch: Batch,
        marker_us: u64,
        request: &mut Vec<u8>,
        answer: &mut Vec<u8>,
    ) -> io::Result<()> {
        if self.plan.address.is_nats {
            request.clear();
            self.write_payload(request, batch.first, marker_us);
            return self.send_to_nats(batch.first, request);
        }
        self.write_request(request, batch, marker_us);
        self.send(request, answer)
    }

    fn send_to_nats(&mut self, event: u64, payload: &[u8]) -> io::Result<()> {
        // Taken out, so that an error leaves no half-read connection behind.
        let mut nats = match self.nats.take() {
            Some(nats) => nats,
            None => NatsPublisher::connect(&self.plan.address)?,
        };
        nats.publish(&self.topic_name(event), payload)?;
        self.nats = Some(nats);
        Ok(())
    }

    fn goes_on(&self, first: u64) -> bool {
        // A server that refuses everything is not asked until the end of the run.
        first < self.plan.events
            && self.published.errors <= limits::PUBLISH_ERRORS
            && !self.shared.stop.load(Ordering::Relaxed)
    }

    fn end_us(&self) -> u64 {
        let duration_us = self.plan.duration.as_micros();
        self.published.start_us + u64::try_from(duration_us).unwrap_or(u64::MAX / 2)
    }

    fn batch_at(&self, first: u64) -> Batch {
        // The last batch may be smaller than the others.
        let count = u64::from(self.plan.batch).min(self.plan.events - first);
        Batch { first, count }
    }

    /// Without a rate an event is due when it is sent.
    fn marker_time(&self, due_us: u64, begun_us: u64) -> u64 {
        if self.plan.rate > 0.0 {
            due_us
        } else {
            begun_us
        }
    }

    /// Waits until an event is due. Returns when that was.
    fn wait_for(&self, event: u64) -> u64 {
        // One that is late already does not sleep at all.
        let due_us = self.published.start_us + self.due_after_us(event);
        std::thread::sleep(Duration::from_micros(due_us.saturating_sub(now_us())));
        due_us
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time"
    )]
    fn due_after_us(&self, event: u64) -> u64 {
        if self.plan.rate > 0.0 {
            (event as f64 * 1e6 / self.plan.rate) as u64
        } else {
            0
        }
    }

    fn topic(&self, event: u64) -> usize {
        usize::try_from(event % self.plan.topics as u64).unwrap_or_default()
    }

    fn write_request(&mut self, out: &mut Vec<u8>, batch: Batch, due_us: u64) {
        let mut body = Vec::new();

        // An event that is sent alone goes to its topic's address, as bare data.
        match self.template_around(batch.first) {
            Some([before, after]) => {
                body.extend_from_slice(before.as_bytes());
                self.write_payload(&mut body, batch.first, due_us);
                body.extend_from_slice(after.as_bytes());
            }
            None if self.plan.batch == 1 => self.write_payload(&mut body, batch.first, due_us),
            None => self.write_array(&mut body, batch, due_us),
        }

        // The body comes first, because the head has its length.
        out.clear();
        out.extend_from_slice(self.head(batch.first, body.len()).as_bytes());
        out.extend(body);
    }

    fn template_around(&self, event: u64) -> Option<[String; 2]> {
        let template = self.plan.body.as_ref()?;
        Some(template.around(&self.topic_name(event)))
    }

    fn topic_name(&self, event: u64) -> String {
        topic_name(self.plan.run, self.plan.first_topic + self.topic(event))
    }

    fn head(&self, first: u64, length: usize) -> String {
        let address = &self.plan.address;
        let path = address.path(AddressValues {
            run: self.plan.run,
            topic: self.plan.first_topic + self.topic(first),
            cursor: "",
        });
        let (host, authorization) = (&address.authority, &self.authorization);
        format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Length: {length}\r\n\r\n"
        )
    }

    fn write_array(&mut self, body: &mut Vec<u8>, batch: Batch, due_us: u64) {
        for event in batch.events() {
            let topic = self.topic_name(event);
            // Each event of a batch has a topic of its own, unlike one that is sent alone.
            body.push(if event == batch.first { b'[' } else { b',' });
            body.extend_from_slice(format!("{{\"topic\":\"{topic}\",\"data\":\"").as_bytes());
            self.write_payload(body, event, due_us);
            body.extend_from_slice(b"\"}");
        }
        body.push(b']');
    }

    fn write_payload(&mut self, out: &mut Vec<u8>, event: u64, due_us: u64) {
        let topic = self.topic(event);

        // Counted even if the request fails: a refused event leaves a hole, not a reordering.
        let sequence = self.sequences[topic];
        self.sequences[topic] += 1;
        let marker = Marker {
            run: self.plan.run,
            publisher: self.number,
            sequence,
            due_us,
        };
        marker.write(out, self.plan.payload_bytes);
    }

    fn note(&mut self, batch: Batch, begun_us: u64, sent: io::Result<()>) {
        match sent {
            Ok(()) => self.note_accepted(batch, begun_us),
            Err(error) => self.note_error(&error),
        }
    }

    fn note_accepted(&mut self, batch: Batch, begun_us: u64) {
        // Only accepted events are expected by readers.
        for event in batch.events() {
            let topic = self.topic(event);
            self.published.accepted[topic] += 1;
        }
        let accepted = &self.shared.accepted;
        accepted.fetch_add(batch.count, Ordering::Relaxed);

        let now_us = now_us();
        self.published.end_us = now_us;
        let answer_us = &mut self.published.answer_us;
        answer_us.saturating_record(now_us - begun_us);
    }

    fn note_error(&mut self, error: &io::Error) {
        self.published.errors += 1;
        let text = || format!("publisher {}: {error}", self.number);
        self.published.first_error.get_or_insert_with(text);

        // Whatever is left of the answer would be taken for the next one.
        self.connection = None;
    }

    fn send(&mut self, request: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
        // Taken out, so that an error leaves no half-read connection behind.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => exchange::connect(&self.plan.address, &self.plan.access)?,
        };
        let answer = exchange::exchange(&mut connection, request, answer)?;

        // Kept for the next request, unless the server has announced that it closes.
        if !answer.is_last() {
            self.connection = Some(connection);
        }
        Ok(())
    }
}
