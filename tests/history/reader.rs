//! A reader whose connections fail in every way, and which resumes by its cursor on whatever
//! transport comes next.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::common::read::{ALL, Reader, Refused, Step, SubscribeParams};
use crate::common::steps::vid_of;
use crate::network::Network;
use crate::record::{ReportedGap, What};
use crate::shared::Shared;

/// A connection that yields nothing for so long is given up; the heartbeat is shorter.
const IDLE: Duration = Duration::from_millis(2500);

struct Flaky {
    network: Network,
    shared: Arc<Shared>,
    random: fastrand::Rng,
    reading: usize,
    cursor: Option<String>,
    /// This subscription is a stream and has shown something.
    is_in_stream: bool,
}

/// Reads until the log has ended and its cursor has come there.
pub(crate) async fn read(topics: Vec<String>, shared: Arc<Shared>, seed: u64) {
    let network = Network::before(shared.gateway).await;
    let reading = shared.history().begin_reading(&topics, true);
    let mut flaky = Flaky {
        network,
        random: fastrand::Rng::with_seed(seed),
        shared,
        reading,
        cursor: None,
        is_in_stream: false,
    };
    while !flaky.has_ended() {
        flaky.stay_away(&topics).await;
        flaky.network.mend();
        let via = ALL[flaky.random.usize(..ALL.len())];
        let after = flaky.cursor.clone().unwrap_or_else(|| "earliest".into());
        let by_hyper = flaky.random.bool();
        let params = SubscribeParams {
            topics: topics.clone(),
            by_hyper,
            ..SubscribeParams::after(after)
        };
        flaky.received(What::Asked);
        flaky.is_in_stream = false;
        match timeout(
            2 * IDLE,
            Reader::open_at(via, &flaky.network.url(), &params),
        )
        .await
        {
            Ok(Ok(mut reader)) => flaky.read_on(&mut reader).await,
            Ok(Err(refused)) => flaky.refused(&refused),
            Err(_) => {}
        }
    }
}

impl Flaky {
    fn has_ended(&self) -> bool {
        let position = self.cursor.as_deref().map_or(0, vid_of);
        self.shared.end().is_some_and(|end| position >= end)
    }

    fn received(&self, what: What) {
        let now = self.shared.now();
        self.shared.history().received(now, self.reading, what);
    }

    /// Anything but a gateway that is away or going.
    fn refused(&self, refused: &Refused) {
        if !matches!(refused, Refused::Unavailable(_)) {
            self.shared.history().refusals.push(format!("{refused:?}"));
        }
    }

    /// Sometimes for longer than events are kept; and sometimes it has forgotten its cursor when it
    /// comes back.
    async fn stay_away(&mut self, topics: &[String]) {
        let is_long =
            self.random.u8(..) < 25 && self.cursor.is_some() && self.shared.end().is_none();
        sleep(Duration::from_millis(if is_long {
            self.random.u64(3000..11_000)
        } else {
            self.random.u64(5..100)
        }))
        .await;
        let mut history = self.shared.history();
        history.done.resumes += 1;
        // Without a cursor it starts with what comes then, and whatever was there before is nothing
        // that it missed.
        let reading = &history.readings[self.reading];
        let was_told_nothing =
            self.cursor.is_none() && reading.from_the_beginning && !reading.received.is_empty();
        if was_told_nothing || (self.cursor.is_some() && self.random.u8(..) < 12) {
            self.reading = history.begin_reading(topics, false);
            self.cursor = None;
        }
    }

    async fn read_on(&mut self, reader: &mut Reader) {
        let mut good_until = Instant::now() + Duration::from_millis(self.random.u64(50..4000));
        let mut last_step = Instant::now();
        while !self.has_ended() {
            let now = Instant::now();
            if now >= good_until && self.shared.end().is_none() {
                if !self.fail().await {
                    return;
                }
                good_until = Instant::now() + Duration::from_millis(self.random.u64(1500..5000));
                last_step = Instant::now();
            }
            match timeout(Duration::from_millis(250), reader.next()).await {
                Ok(Ok(Some(step))) => {
                    last_step = Instant::now();
                    let is_shown = matches!(step, Step::Event(..) | Step::CaughtUp(_));
                    self.take(step);
                    self.is_in_stream |= is_shown && !matches!(reader, Reader::Poll(_));
                }
                Ok(Ok(None)) => return,
                Ok(Err(refused)) => return self.refused(&refused),
                Err(_) if last_step.elapsed() > IDLE => return,
                Err(_) => {}
            }
        }
    }

    /// Something happens to the connection; false when the reader leaves it.
    async fn fail(&mut self) -> bool {
        let pause = Duration::from_millis(self.random.u64(500..7000));
        match self.random.u8(..100) {
            ..15 => return false,
            15..35 => {
                self.network.cut().await;
                self.shared.history().done.cuts += 1;
            }
            35..45 => {
                self.network.silence();
                self.shared.history().done.silences += 1;
            }
            45..85 => {
                self.network.stall();
                self.shared.history().done.stalls += 1;
                sleep(pause).await;
                self.network.mend();
            }
            _ => {
                self.shared.history().done.stalls += 1;
                sleep(pause).await;
            }
        }
        true
    }

    fn take(&mut self, step: Step) {
        let now = self.shared.now();
        let mut history = self.shared.history();
        match step {
            Step::Hello { epoch, first, last } => {
                history.epochs.insert(epoch);
                history.received(now, self.reading, What::Hello { first, last });
            }
            Step::Event(seen, cursor) => {
                assert_eq!(seen.vid, vid_of(&cursor));
                history.saw(now, self.reading, seen);
                self.cursor = Some(cursor);
            }
            Step::CaughtUp(cursor) => {
                history.received(now, self.reading, What::CaughtUp(vid_of(&cursor)));
                self.cursor = Some(cursor);
            }
            Step::Progress(cursor) => {
                history.received(now, self.reading, What::Progress(vid_of(&cursor)));
                self.cursor = Some(cursor);
            }
            Step::Gap(gap) => {
                let requested = vid_of(&gap.requested);
                let gap = ReportedGap {
                    reason: gap.reason,
                    requested,
                    first: gap.first,
                    last: gap.last,
                };
                history.done.gaps += 1;
                history.done.gaps_in_streams += u32::from(self.is_in_stream);
                history.received(now, self.reading, What::Gap(Box::new(gap)));
            }
            Step::Closing => {}
        }
    }
}
