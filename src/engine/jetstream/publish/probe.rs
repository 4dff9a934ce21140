//! Which ids does the stream know?
//!
//! A batch with a known id is refused as a whole, and the answer does not say which id it was. So
//! each is asked for: a message with the id that also demands a roll-up of a kind that does not
//! exist. The servers look at the id first. A known one is acknowledged as a duplicate, with its
//! vid; the message of any other is refused for the roll-up. That is so on one server and on
//! several, and, on several, before anything is given to the replicas.
//!
//! Invariant: nothing is stored by a probe. In particular `Nats-Expected-Last-Msg-Id` is not used:
//! it is looked at by each replica by itself, and a wrong one stops the stream for good.

use std::collections::HashMap;

use async_nats::header::{HeaderMap, HeaderValue, NATS_MESSAGE_ID, NATS_ROLLUP};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::Lane;
use super::answer::Known;
use super::link::{Link, ReplyTo};
use super::plan::{KnownIds, Plan};
use crate::cursor::Vid;
use crate::limits;

use super::super::message::text_on_wire;

/// A roll-up that no server does, whatever the stream allows.
const NO_SUCH_ROLL_UP: &str = "none";

/// An id that is asked for: where its event is in the plan, and the id as it is on the wire.
struct Probe {
    index: usize,
    subject: String,
    id: HeaderValue,
}

impl Lane {
    /// The vid of the group, where it has an id and was stored.
    ///
    /// # Errors
    /// The stream does not say so now.
    pub(super) async fn vid_of_group(
        &mut self,
        plan: &Plan<'_>,
        deadline: Instant,
    ) -> Result<Option<Vid>, String> {
        let Some((index, id)) = plan.group_id else {
            return Ok(None);
        };
        let probe = self.probe(plan, index, id);
        let known = self.ask_for(vec![probe], deadline).await?;
        Ok(known.get(&index).map(|vid| vid - index as Vid))
    }

    /// Those ids of publishers that the stream knows, of events that the plan sends.
    ///
    /// # Errors
    /// The stream does not say so now.
    pub(super) async fn known_ids(
        &mut self,
        plan: &Plan<'_>,
        deadline: Instant,
    ) -> Result<KnownIds, String> {
        let probes = plan
            .ids()
            .map(|(index, id)| self.probe(plan, index, &text_on_wire(id)));
        let probes = probes.collect();
        let known = self.ask_for(probes, deadline).await?;
        let known = plan
            .ids()
            .filter_map(|(index, id)| Some((id.to_owned(), *known.get(&index)?)));
        Ok(known.collect())
    }

    fn probe(&self, plan: &Plan<'_>, index: usize, id: &str) -> Probe {
        Probe {
            index,
            subject: self.stream.subjects.of(&plan.events[index].topic),
            // What is no header was not sent as one either.
            id: id.parse().unwrap_or_default(),
        }
    }

    async fn ask_for(
        &mut self,
        probes: Vec<Probe>,
        deadline: Instant,
    ) -> Result<HashMap<usize, Vid>, String> {
        let stream = self.stream.api.stream().to_owned();
        let until = (Instant::now() + limits::NATS_PUBLISH_ANSWER_WAIT).min(deadline);
        let link = self.connected(deadline).await?;
        let answered = timeout_at(until, link.ask_for(probes, &stream)).await;
        self.note(&answered);
        let known = answered.map_err(|_| "nobody says whether ids are known".to_owned())??;
        known.ok_or_else(|| "it is not clear yet whether an id is known".to_owned())
    }
}

impl Link {
    /// All at once, then all answers; none where one of them leaves it open.
    ///
    /// # Errors
    /// The connection has ended.
    async fn ask_for(
        &mut self,
        probes: Vec<Probe>,
        stream: &str,
    ) -> Result<Option<HashMap<usize, Vid>>, String> {
        let reply = self.new_question();
        let mut awaited = probes.len();
        for probe in probes {
            self.send_probe(probe, &reply).await?;
        }

        let (mut known, mut is_clear) = (HashMap::new(), true);
        while awaited > 0 {
            let (index, message) = self.answer(&reply).await?;
            match Known::of(&message, stream) {
                Known::As(vid) => drop(known.insert(index, vid)),
                Known::No => {}
                Known::Unclear => is_clear = false,
            }
            awaited -= 1;
        }
        Ok(is_clear.then_some(known))
    }

    async fn send_probe(&self, probe: Probe, reply: &ReplyTo) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, probe.id);
        headers.insert(NATS_ROLLUP, NO_SUCH_ROLL_UP);
        let reply = reply.numbered(probe.index);
        let client = self.client();
        let sent =
            client.publish_with_reply_and_headers(probe.subject, reply, headers, Bytes::new());
        sent.await.map_err(|error| error.to_string())
    }
}
