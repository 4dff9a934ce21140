//! A script, done to a gateway and to the list.

use std::time::Duration;

use serde_json::Value;
use vidette::engine::Retention;

use crate::common::engines::EngineUnderTest;
use crate::common::in_process::{InProcessGateway, Setup};
use crate::common::read::{ALL, Transport};
use crate::log::{Log, Start, State};
use crate::publisher::{after_ms, now_ms, publish};
use crate::reading::{Reading, Request};
use crate::script::{Command, Door, Draft, From, NAMES, Open, Script, Trim};

const SETUP: Setup = Setup {
    heartbeat: Duration::from_millis(25),
    max_age: Duration::from_secs(3600),
    is_secure: false,
};
/// How long a script may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A subscription's name: what is open there, or how it can be resumed.
#[derive(Default)]
struct Slot {
    reading: Option<Reading>,
    filter: usize,
    cursor: Option<String>,
}

struct Run {
    engine: EngineUnderTest,
    own: Option<InProcessGateway>,
    log: Log,
    slots: [Slot; NAMES.len()],
    /// A time before each publish, and after those before it.
    marks: Vec<i64>,
    published_ms: i64,
}

type Done = Result<(), String>;

/// What went wrong, and at which command.
pub fn run(engine: EngineUnderTest, script: &Script) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let done = runtime.block_on(async {
        let script = script.clone();
        let done = tokio::spawn(async move { Run::start(engine).await.all(&script).await });
        let stop = done.abort_handle();
        match tokio::time::timeout(PATIENCE, done).await {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => Err(message(panic)),
            Err(_) => {
                stop.abort();
                Err("it does not end".into())
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    done
}

fn message(error: tokio::task::JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else {
        return "it was cancelled".into();
    };
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "it panicked".into())
}

impl Run {
    async fn start(engine: EngineUnderTest) -> Self {
        let own = InProcessGateway::start(engine.opener(), SETUP).await;
        let log = Log::new(own.bus.epoch().to_string());
        Run {
            engine,
            own: Some(own),
            log,
            slots: Default::default(),
            marks: Vec::new(),
            published_ms: 0,
        }
    }

    async fn all(mut self, script: &Script) -> Done {
        for (index, command) in script.0.iter().enumerate() {
            let done = self.command(command).await;
            let done = done.and_then(|()| self.compare_bounds());
            done.map_err(|why| format!("at {}. {command:?}: {why}", index + 1))?;
        }
        self.finish()
            .await
            .map_err(|why| format!("at the end: {why}"))
    }

    fn own(&self) -> &InProcessGateway {
        self.own.as_ref().expect("a gateway")
    }

    async fn command(&mut self, command: &Command) -> Done {
        match command {
            Command::Publish(drafts, door) => self.publish(drafts, *door).await,
            Command::Trim(trim, name) => self.trim(*trim, *name).await,
            Command::Burst(drafts, keep) => {
                self.publish(drafts, Door::Bus).await?;
                self.log.keep(*keep);
                self.own().keep(*keep).await;
                Ok(())
            }
            Command::ForgetIds => {
                self.log.forget_ids();
                after_ms(self.published_ms + 1).await;
                let max_age = SETUP.max_age;
                let (max_events, max_bytes, dedupe_window) = (u64::MAX, u64::MAX, Duration::ZERO);
                let trimmed = self
                    .own()
                    .bus
                    .trim(Retention {
                        max_age,
                        max_events,
                        max_bytes,
                        dedupe_window,
                    })
                    .await;
                trimmed.map_err(|error| error.to_string())
            }
            Command::Crash(drafts, moments) if self.engine.is_durable => {
                self.crash(drafts, *moments).await
            }
            Command::Restart | Command::Crash(..) => self.restart().await,
            Command::Open(open) => self.open(open).await,
            Command::OpenAhead(open, ahead, drafts) => self.open_ahead(open, *ahead, drafts).await,
            Command::Read(name, steps) => self.read(*name, *steps).await,
            Command::Resume(name, via) => self.resume(*name, *via).await,
        }
    }

    async fn publish(&mut self, drafts: &[Draft], door: Door) -> Done {
        let from_ms = after_ms(self.published_ms).await;
        self.marks.push(from_ms);
        let entries = self.log.prepare(drafts);
        let receipts = publish(&self.own().url(), &self.own().bus, &entries, door).await;
        self.published_ms = now_ms();
        let expected = self.log.publish(entries, (from_ms, self.published_ms));
        if receipts == expected {
            Ok(())
        } else {
            Err(format!("acknowledged {receipts:?}, expected {expected:?}"))
        }
    }

    async fn trim(&mut self, trim: Trim, name: Option<usize>) -> Done {
        let own = self.own.as_ref().expect("a gateway");
        let keep = if let Trim::Keep(events) = trim {
            events
        } else {
            0
        };
        self.log.keep(keep);
        if let Trim::All = trim {
            self.log.forget_ids();
        }
        let trimming = async {
            match trim {
                Trim::Keep(events) => own.keep(events).await,
                Trim::All => own.expire_all().await,
            }
        };
        // A long-poll cannot be read meanwhile: it would not be known which state it is answered
        // in.
        match name.and_then(|name| {
            self.slots[name]
                .reading
                .as_mut()
                .filter(|reading| reading.is_stream())
        }) {
            Some(reading) => tokio::join!(trimming, reading.read(&mut self.log, None)).1?,
            None => trimming.await,
        }
        self.slots.iter_mut().for_each(Slot::settle);
        Ok(())
    }

    async fn restart(&mut self) -> Done {
        let own = self.own.take().expect("a gateway");
        let reading = async {
            for reading in self
                .slots
                .iter_mut()
                .filter_map(|slot| slot.reading.as_mut())
            {
                reading.read_to_closing(&mut self.log).await?;
            }
            Ok::<_, String>(())
        };
        let (own, read) = tokio::join!(own.restart(), reading);
        self.close_all();
        if !self.engine.is_durable {
            self.log = Log::new(own.bus.epoch().to_string());
            self.marks.clear();
        }
        self.own = Some(own);
        read
    }

    /// What was acknowledged is there afterwards; what was not is there as a whole or not at all.
    async fn crash(&mut self, drafts: &[Draft], moments: u32) -> Done {
        self.close_all();
        let own = self.own.take().expect("a gateway");
        let from_ms = after_ms(self.published_ms).await;
        let entries = self.log.prepare(drafts);
        let (url, bus) = (own.url(), own.bus.clone());
        let publishing = (!entries.is_empty()).then(|| {
            let entries = entries.clone();
            tokio::spawn(async move { publish(&url, &bus, &entries, Door::Bus).await })
        });
        tokio::time::sleep(Duration::from_micros(u64::from(moments) * 100)).await;
        let was_acknowledged = publishing
            .as_ref()
            .is_some_and(tokio::task::JoinHandle::is_finished);
        let copy = own.copy();
        if let Some(publishing) = publishing {
            let _ = publishing.await;
        }
        self.published_ms = now_ms();
        let own = self.own.insert(own.restart_on(Some(copy)).await);
        if own.bus.bounds().last > self.log.now().last || was_acknowledged {
            self.marks.push(from_ms);
            self.log.publish(entries, (from_ms, self.published_ms));
        }
        Ok(())
    }

    fn close_all(&mut self) {
        for slot in &mut self.slots {
            slot.close();
        }
    }

    async fn open(&mut self, open: &Open) -> Done {
        let State { last, .. } = self.log.now();
        let start = match open.from {
            From::Latest => Start::Latest,
            From::Earliest => Start::Earliest,
            From::Zero => Start::After("0".into()),
            From::Snapshot => Start::Snapshot,
            From::Since(before) => {
                Start::Since(self.marks.iter().rev().nth(before).copied().unwrap_or(0))
            }
            From::Back(back, true) => Start::After(self.log.cursor(last.saturating_sub(back))),
            From::Back(back, false) => Start::After(last.saturating_sub(back).to_string()),
            From::AnotherLog(back) => {
                Start::After(format!("{}-another", last.saturating_sub(back)))
            }
            From::Ahead(ahead) => Start::After(self.log.cursor(last + ahead)),
        };
        self.open_at(open.name, request(open, start)).await
    }

    async fn open_at(&mut self, name: usize, request: Request) -> Done {
        self.slots[name].close();
        let opened = request.open(&self.own().url()).await;
        let reading = Reading::take(opened, &request, &mut self.log).await?;
        self.slots[name] = Slot {
            reading,
            filter: request.filter,
            cursor: None,
        };
        self.slots[name].settle();
        Ok(())
    }

    async fn open_ahead(&mut self, open: &Open, ahead: u64, drafts: &[Draft]) -> Done {
        let request = request(
            open,
            Start::After(self.log.cursor(self.log.now().last + ahead)),
        );
        let url = self.own().url();
        let publishing = async {
            tokio::time::sleep(Duration::from_millis(15)).await;
            self.publish(drafts, Door::Events).await
        };
        let (opened, published) = tokio::join!(request.open(&url), publishing);
        published?;
        let reading = Reading::take(opened, &request, &mut self.log).await?;
        self.slots[open.name] = Slot {
            reading,
            filter: request.filter,
            cursor: None,
        };
        self.slots[open.name].settle();
        Ok(())
    }

    async fn read(&mut self, name: usize, steps: Option<usize>) -> Done {
        let slot = &mut self.slots[name];
        let Some(reading) = &mut slot.reading else {
            return Ok(());
        };
        reading.read(&mut self.log, steps).await?;
        slot.settle();
        Ok(())
    }

    async fn resume(&mut self, name: usize, via: Transport) -> Done {
        let Slot { filter, cursor, .. } = &self.slots[name];
        let Some(cursor) = cursor.clone() else {
            return Ok(());
        };
        let start = Start::After(cursor.clone());
        let request = Request {
            via,
            filter: *filter,
            start,
            fail_on_gap: false,
            limit: None,
        };
        self.open_at(name, request).await?;
        // Until it receives another one, a client keeps the cursor that it has.
        self.slots[name].cursor.get_or_insert(cursor);
        Ok(())
    }

    fn compare_bounds(&self) -> Done {
        let (bus, log) = (&self.own().bus, &self.log);
        let (bounds, State { first, last }) = (bus.bounds(), log.now());
        let is_same =
            (bounds.first, bounds.last) == (first, last) && bus.epoch().as_str() == log.epoch;
        if is_same {
            Ok(())
        } else {
            Err(format!("the log is {bounds:?}, expected {first} to {last}"))
        }
    }

    /// Whatever happened: all subscriptions come to the end, and new ones see all that is retained.
    async fn finish(mut self) -> Done {
        for (index, name) in NAMES.iter().enumerate() {
            self.read(index, None)
                .await
                .map_err(|why| format!("{name}: {why}"))?;
        }
        for via in ALL {
            let request = Request {
                via,
                filter: 0,
                start: Start::Earliest,
                fail_on_gap: false,
                limit: None,
            };
            self.open_at(0, request).await?;
            self.read(0, None)
                .await
                .map_err(|why| format!("{via:?}: {why}"))?;
        }
        let answer = reqwest::get(format!("{}/v1/topics", self.own().url()))
            .await
            .expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let of =
            |topic: &Value| Some((topic["topic"].as_str()?.to_owned(), topic["vid"].as_u64()?));
        let topics: Option<Vec<_>> = answer["topics"]
            .as_array()
            .expect("topics")
            .iter()
            .map(of)
            .collect();
        let expected: Vec<_> = self.log.topics().into_iter().collect();
        if topics.as_ref() == Some(&expected) {
            Ok(())
        } else {
            Err(format!("{answer}, expected {expected:?}"))
        }
    }
}

fn request(open: &Open, start: Start) -> Request {
    let Open {
        via,
        filter,
        fail_on_gap,
        limit,
        ..
    } = *open;
    Request {
        via,
        filter,
        start,
        fail_on_gap,
        limit,
    }
}

impl Slot {
    /// Keeps the cursor, and lets go of what has ended.
    fn settle(&mut self) {
        let Some(reading) = &self.reading else { return };
        self.cursor = reading.cursor().or(self.cursor.take());
        if reading.has_ended {
            self.reading = None;
        }
    }

    fn close(&mut self) {
        self.settle();
        self.reading = None;
    }
}
