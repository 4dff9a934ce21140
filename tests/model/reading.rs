//! An open subscription beside what it may yield.

use std::time::Duration;

use crate::common::read::{Reader, Refused, Step, SubscribeParams, Transport};
use crate::expect::Expect;
use crate::log::{Log, Start};
use crate::script::FILTERS;

/// What has to come comes within this time; a heartbeat is far shorter.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is asked for.
#[derive(Clone)]
pub struct Request {
    pub via: Transport,
    pub filter: usize,
    pub start: Start,
    pub fail_on_gap: bool,
    pub limit: Option<u32>,
}

pub struct Reading {
    reader: Reader,
    expect: Expect,
    fail_on_gap: bool,
    limit: Option<u32>,
    events: u32,
    pub has_ended: bool,
}

impl Request {
    pub async fn open(&self, url: &str) -> Result<Reader, Refused> {
        let mut params = SubscribeParams {
            topics: FILTERS[self.filter]
                .iter()
                .map(ToString::to_string)
                .collect(),
            fail_on_gap: self.fail_on_gap,
            limit: self.limit,
            ..SubscribeParams::default()
        };
        match &self.start {
            Start::Latest => params.after = Some("latest".into()),
            Start::Earliest => params.after = Some("earliest".into()),
            Start::Snapshot => params.snapshot = true,
            Start::Since(ms) => {
                params.since = Some(
                    jiff::Timestamp::from_millisecond(*ms)
                        .expect("a time")
                        .to_string(),
                );
            }
            Start::After(cursor) => params.after = Some(cursor.clone()),
        }
        tokio::time::timeout(PATIENCE, Reader::open_at(self.via, url, &params))
            .await
            .expect("an answer in time")
    }
}

impl Reading {
    /// Takes what a request was answered with; none when it was refused as it had to be.
    pub async fn take(
        opened: Result<Reader, Refused>,
        request: &Request,
        log: &mut Log,
    ) -> Result<Option<Self>, String> {
        let expect = Expect::new(log, FILTERS[request.filter], &request.start);
        let expected = expect.gap().filter(|_| request.fail_on_gap);
        match (opened, expected) {
            (Err(Refused::Gap(reported)), Some(gap)) if reported == *gap => Ok(None),
            (Ok(reader), None) => {
                let Request {
                    fail_on_gap, limit, ..
                } = *request;
                let mut reading = Reading {
                    reader,
                    expect,
                    fail_on_gap,
                    limit,
                    events: 0,
                    has_ended: false,
                };
                if let Reader::Poll(_) = reading.reader {
                    reading.read(log, Some(1)).await?;
                }
                Ok(Some(reading))
            }
            (Err(refused), _) => Err(format!("refused: {refused:?}; expected {expected:?}")),
            (Ok(_), Some(gap)) => Err(format!("it should have been refused: {gap:?}")),
        }
    }

    pub fn is_stream(&self) -> bool {
        !matches!(self.reader, Reader::Poll(_))
    }

    pub fn cursor(&self) -> Option<String> {
        self.expect.cursor.clone()
    }

    /// Reads so many steps, or to the end of the log.
    pub async fn read(&mut self, log: &mut Log, steps: Option<usize>) -> Result<(), String> {
        let most = steps.unwrap_or(usize::MAX);
        if self.is_stream() {
            self.read_stream(log, most).await
        } else {
            self.poll(log, steps).await
        }
    }

    async fn poll(&mut self, log: &mut Log, answers: Option<usize>) -> Result<(), String> {
        let Reader::Poll(reader) = &mut self.reader else {
            return Ok(());
        };
        for _ in 0..answers.unwrap_or(log.states.len() * 8 + 200) {
            if !self.expect.is_new() {
                if answers.is_none() && self.expect.is_at_the_end(log) {
                    return Ok(());
                }
                self.expect.goes_on(log, reader.cursor());
            }
            let answer = tokio::time::timeout(PATIENCE, reader.answer("0"))
                .await
                .map_err(|_| "a poll hangs")?;
            match (answer, self.expect.gap().filter(|_| self.fail_on_gap)) {
                (Err(Refused::Gap(reported)), Some(gap)) if reported == *gap => {
                    self.has_ended = true;
                    return Ok(());
                }
                (Ok(steps), None) => {
                    let events = steps
                        .iter()
                        .filter(|step| matches!(step, Step::Event(..)))
                        .count();
                    if self.limit.is_some_and(|limit| events > limit as usize) {
                        return Err(format!("{events} events in an answer, more than its limit"));
                    }
                    steps
                        .iter()
                        .try_for_each(|step| self.expect.step(log, step))?;
                    self.expect.answered(log, reader.cursor())?;
                }
                (answer, gap) => return Err(format!("answered with {answer:?}; expected {gap:?}")),
            }
        }
        if answers.is_some() {
            Ok(())
        } else {
            Err("the polls do not come to the end".into())
        }
    }

    async fn read_stream(&mut self, log: &mut Log, steps: usize) -> Result<(), String> {
        for _ in 0..steps {
            if !self.is_full() && self.expect.is_at_the_end(log) {
                return Ok(());
            }
            match self.next(log).await? {
                Some(step) => self.expect.step(log, &step)?,
                None if self.has_ended || self.is_full() => {
                    self.has_ended = true;
                    return Ok(());
                }
                None => return Err(format!("the stream ended. {}", self.expect.describe(log))),
            }
        }
        Ok(())
    }

    /// Reads what still comes while the gateway goes away, up to its closing word and the end.
    pub async fn read_to_closing(&mut self, log: &mut Log) -> Result<(), String> {
        let mut has_closed = false;
        while self.is_stream() {
            match self.next(log).await? {
                Some(Step::Closing) if !has_closed => has_closed = true,
                Some(step) if has_closed => {
                    return Err(format!("after the closing word came {step:?}"));
                }
                Some(step) => self.expect.step(log, &step)?,
                None if has_closed || self.has_ended || self.is_full() => return Ok(()),
                None => return Err(format!("no closing word. {}", self.expect.describe(log))),
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.limit == Some(self.events)
    }

    /// The next step, none at the end. A gap that ends the stream is a step like any other.
    async fn next(&mut self, log: &Log) -> Result<Option<Step>, String> {
        if self.has_ended {
            return Ok(None);
        }
        let next = tokio::time::timeout(PATIENCE, self.reader.next()).await;
        let next = next.map_err(|_| format!("nothing comes. {}", self.expect.describe(log)))?;
        match next {
            Ok(Some(Step::Gap(gap))) if self.fail_on_gap => {
                // Only SSE has no other way to say it.
                let Reader::Sse(reader) = &mut self.reader else {
                    return Err(format!("a gap although it was to fail: {gap:?}"));
                };
                self.has_ended = true;
                let end = tokio::time::timeout(PATIENCE, reader.next()).await;
                if end == Ok(Ok(None)) {
                    Ok(Some(Step::Gap(gap)))
                } else {
                    Err(format!("{end:?} after {gap:?}"))
                }
            }
            Err(Refused::Gap(gap)) if self.fail_on_gap => {
                self.has_ended = true;
                Ok(Some(Step::Gap(gap)))
            }
            Ok(step) => {
                self.events += u32::from(matches!(step, Some(Step::Event(..))));
                Ok(step)
            }
            // How gRPC ends after its closing word.
            Err(Refused::Unavailable(_)) if matches!(self.reader, Reader::Grpc(_)) => Ok(None),
            Err(error) => Err(format!("{error:?}. {}", self.expect.describe(log))),
        }
    }
}
