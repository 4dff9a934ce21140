//! A subscriber of NATS, for comparison. It is ready once the server has answered a ping, which
//! comes after its subscription.

use super::ReaderPlan;
use super::wire::{Wire, WireContext};
use crate::address::topic_name;
use crate::nats::CONNECT;
use crate::tally::ReceivedEvents;

const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"PONG\r\n";

pub(super) struct NatsWire {
    subject: String,
    topic: usize,
    is_reading: bool,
    greeting: Vec<u8>,
    events: ReceivedEvents,
}

impl NatsWire {
    pub(super) fn new(plan: &ReaderPlan, reader: usize) -> Self {
        let topic = plan.topic_of(reader);
        NatsWire {
            subject: topic_name(plan.run, topic),
            topic,
            is_reading: false,
            greeting: Vec::new(),
            events: ReceivedEvents::new(plan.publishers),
        }
    }
}

impl Wire for NatsWire {
    fn begin(&mut self, out: &mut Vec<u8>) {
        let greeting = format!("{CONNECT}SUB {} 1\r\n", self.subject);
        out.extend_from_slice(greeting.as_bytes());
        out.extend_from_slice(PING);
    }

    fn take(&mut self, bytes: &[u8], context: &mut WireContext<'_>) -> Result<(), String> {
        if !self.is_reading {
            self.greeting.extend_from_slice(bytes);
            self.is_reading = memchr::memmem::find(&self.greeting, PONG).is_some();
            return Ok(());
        }

        // A ping stands alone, because the server sends it when nothing else is to be sent.
        if bytes.ends_with(PING) {
            context.out.extend_from_slice(PONG);
        }
        self.events.feed(bytes, context.tally);
        Ok(())
    }

    fn reading(&self) -> usize {
        usize::from(self.is_reading)
    }

    fn received(&self) -> Vec<(usize, u64)> {
        if self.is_reading {
            vec![(self.topic, self.events.received)]
        } else {
            Vec::new()
        }
    }
}
