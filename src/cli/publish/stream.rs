//! Lines on their way to the gateway, over as many connections as it takes.
//!
//! Invariants:
//! - at most [`limits::PUBLISH_WINDOW_LINES`] lines, of [`limits::PUBLISH_WINDOW_BYTES`], have no
//!   answer yet; the input is not read on meanwhile;
//! - lines are answered in the order in which they were sent, so an answer belongs to the oldest
//!   unanswered one;
//! - a line that may have been published is sent again only when it has an id;
//! - a request is ended and the next one begun when answers stay away (see [`super::pace`]).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::connection::{self, Answers, Connection, Heard};
use super::lines::{self, Line, Numbering};
use super::pace::Pace;
use super::signals::{Interrupt, Signals};
use super::tally::Tally;
use crate::cli::{Failure, Outcome};
use crate::limits;

/// What to publish, and where.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) numbering: Numbering,
    pub(super) url: String,
    /// How long the gateway may be away.
    pub(super) retry_for: Duration,
}

/// Why a connection ended.
enum End {
    /// Everything is answered.
    Done,
    /// All that was sent is answered; the rest comes with the next request.
    Paused,
    /// It may go better the next time.
    Broken(Failure),
    /// It will not.
    Failed(Failure),
}

pub(super) async fn run(job: Job) -> Outcome {
    let signals = Signals::new()?;
    let mut publishing = Publishing {
        input: Some(lines::read(&job.path, job.numbering.clone()).await?),
        unsent: VecDeque::new(),
        unanswered: VecDeque::new(),
        put_off: VecDeque::new(),
        tally: Tally::new(lines::length(&job.path), job.numbering.from_line),
        has_connected: false,
        pace: Pace::new(),
        signals,
    };
    match publishing.run(&job).await {
        Ok(()) => publishing.tally.finish(),
        Err(failure) => {
            publishing.tally.clear();
            Err(publishing.with_where_to_go_on(failure))
        }
    }
}

struct Publishing {
    /// None at its end.
    input: Option<mpsc::Receiver<std::io::Result<Line>>>,
    /// Lines that are to be sent.
    unsent: VecDeque<Line>,
    /// Lines that may have been published, in the order sent.
    unanswered: VecDeque<Line>,
    /// Lines that the gateway could not take just then.
    put_off: VecDeque<Line>,
    tally: Tally,
    has_connected: bool,
    pace: Pace,
    signals: Signals,
}

impl Publishing {
    async fn run(&mut self, job: &Job) -> Outcome {
        let client = connection::client()?;
        let (mut away_since, mut pause) = (None::<Instant>, limits::PUBLISH_RETRY_MIN);
        loop {
            let answered_before = self.tally.next_line;
            let fault = match self.connection(connection::open(&client, &job.url)).await {
                Err(interrupt) => return Err(interrupt.into()),
                Ok(End::Done) => return Ok(()),
                Ok(End::Paused) => {
                    (away_since, pause) = (None, limits::PUBLISH_RETRY_MIN);
                    if self.wait_for_a_line().await? {
                        continue;
                    }
                    return Ok(());
                }
                Ok(End::Broken(fault)) if self.has_connected => fault,
                Ok(End::Broken(fault) | End::Failed(fault)) => return Err(fault),
            };
            self.take_back(&fault)?;
            if self.tally.next_line > answered_before {
                (away_since, pause) = (None, limits::PUBLISH_RETRY_MIN);
            }
            let since = *away_since.get_or_insert_with(|| {
                self.tally.tell(&format!("{}; trying again", fault.text));
                Instant::now()
            });
            if since.elapsed() + pause > job.retry_for {
                return Err(fault);
            }
            self.signals
                .unless_interrupted(tokio::time::sleep(pause))
                .await?;
            pause = (pause * 2).min(limits::PUBLISH_RETRY_MAX);
        }
    }

    /// Waits until there is something for the next request; false when nothing comes any more.
    async fn wait_for_a_line(&mut self) -> Result<bool, Failure> {
        while self.unsent.is_empty() && self.input.is_some() {
            let line = next_line(&mut self.input);
            let line = self.signals.unless_interrupted(line).await?;
            self.take(line)?;
        }
        Ok(!self.unsent.is_empty())
    }

    /// One request's life.
    async fn connection(&mut self, (body, mut answers): Connection) -> Result<End, Interrupt> {
        let (mut body, mut put_off) = (Some(body), None);
        self.pace.begin();
        loop {
            let is_over = put_off.is_some() || (self.input.is_none() && self.unsent.is_empty());
            if is_over || self.pace.is_paused() {
                body = None; // the gateway answers what it has got, and ends its answers
            }
            let ends_at = self.pace.ends_at(self.unanswered.len(), self.has_room());
            let interrupt = tokio::select! {
                heard = answers.next() => match self.heard(heard, body.is_some(), &mut put_off) {
                    Some(end) => return Ok(end),
                    None => continue,
                },
                () = sleep_until(ends_at), if body.is_some() => {
                    self.pace.pause(self.unanswered.len());
                    continue;
                }
                line = next_line(&mut self.input), if self.has_room() => match self.take(line) {
                    Ok(()) => continue,
                    Err(fault) => return Ok(End::Failed(fault)),
                },
                place = place(body.as_ref()), if !self.unsent.is_empty() => {
                    self.send(place);
                    continue;
                }
                interrupt = self.signals.next() => interrupt,
            };
            drop(body);
            return Err(self.hear_the_rest(answers, interrupt).await);
        }
    }

    /// Takes what the connection brought; says how the connection ends if that ends it.
    fn heard(
        &mut self,
        heard: Option<Heard>,
        request_goes_on: bool,
        put_off: &mut Option<Failure>,
    ) -> Option<End> {
        match heard {
            Some(Heard::Connected) => {
                self.has_connected = true;
                self.pace.heard(request_goes_on);
            }
            Some(Heard::Answer(answer)) => {
                self.pace.heard(request_goes_on);
                let refusal = self.answered(&answer);
                *put_off = refusal.or(put_off.take());
            }
            Some(Heard::Broken(error)) => return Some(End::Broken(error)),
            Some(Heard::Refused(error)) => return Some(End::Failed(error)),
            None => return Some(self.ended(put_off.take())),
        }
        None
    }

    /// Is there room for another line? One is read when the one before has been sent.
    fn has_room(&self) -> bool {
        let bytes = || self.unanswered.iter().map(Line::size_bytes).sum::<usize>();
        self.input.is_some()
            && self.unsent.is_empty()
            && self.unanswered.len() < limits::PUBLISH_WINDOW_LINES
            && bytes() < self.pace.window_bytes()
    }

    /// Takes what the input gave.
    fn take(&mut self, line: Option<std::io::Result<Line>>) -> Outcome {
        match line {
            None => self.input = None,
            Some(Err(fault)) => {
                return Err(Failure::new(format!(
                    "the input cannot be read on: {fault}"
                )));
            }
            Some(Ok(line)) if line.text.is_none() => {
                self.tally.refuse(
                    &line,
                    &format!("it has more than {} bytes", limits::MAX_LINE_BYTES),
                );
            }
            Some(Ok(line)) => self.unsent.push_back(line),
        }
        Ok(())
    }

    /// Sends a line. Where nobody takes it any more, the answers say why.
    fn send(&mut self, place: Option<mpsc::Permit<'_, Bytes>>) {
        let (Some(place), Some(line)) = (place, self.unsent.pop_front()) else {
            return;
        };
        place.send(line.text.clone().unwrap_or_default());
        self.pace.sent(self.unanswered.len());
        self.unanswered.push_back(line);
    }

    /// Counts an answer. A fault when the gateway could not take the line just then.
    fn answered(&mut self, answer: &str) -> Option<Failure> {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let line = self.unanswered.pop_front()?; // the gateway's last word belongs to no line
        if matches!(answer["error"]["status"].as_u64(), Some(429 | 503 | 507)) {
            self.put_off.push_back(line);
            return Some(Failure::new(
                answer["error"]["detail"]
                    .as_str()
                    .unwrap_or("the gateway takes no events now"),
            ));
        }
        self.tally.count(&line, &answer);
        None
    }

    fn ended(&self, put_off: Option<Failure>) -> End {
        let is_all = self.input.is_none() && self.unsent.is_empty() && self.unanswered.is_empty();
        match put_off {
            Some(fault) => End::Broken(fault),
            None if is_all => End::Done,
            None if self.pace.is_paused() && self.unanswered.is_empty() => End::Paused,
            None => End::Broken(Failure::new("the gateway has ended the stream")),
        }
    }

    /// Takes back the lines that are to be sent again, or says which ones may not be.
    fn take_back(&mut self, fault: &Failure) -> Outcome {
        if self.unanswered.iter().any(|line| !line.is_repeatable) {
            let text = &fault.text;
            return Err(Failure::new(format!(
                "{text}. Some lines on their way have no id and may have been published, so they are not sent again; look what the log has. With --id-prefix lines have ids"
            )));
        }
        self.put_off.append(&mut self.unanswered);
        self.put_off.append(&mut self.unsent);
        std::mem::swap(&mut self.put_off, &mut self.unsent);
        Ok(())
    }

    /// What is on its way is still answered, if that does not take long.
    async fn hear_the_rest(&mut self, mut answers: Answers, interrupt: Interrupt) -> Interrupt {
        let rest = async {
            while let Some(Heard::Connected | Heard::Answer(_)) =
                answers.next().await.inspect(|heard| {
                    if let Heard::Answer(answer) = heard {
                        self.answered(answer);
                    }
                })
            {}
        };
        let _ = tokio::time::timeout(limits::PUBLISH_FAREWELL, rest).await;
        interrupt
    }

    fn with_where_to_go_on(&self, failure: Failure) -> Failure {
        let open = self
            .put_off
            .iter()
            .chain(&self.unanswered)
            .chain(&self.unsent)
            .map(|line| line.number)
            .min();
        let next = open.unwrap_or(self.tally.next_line);
        let (text, published) = (failure.text, self.tally.published);
        Failure {
            text: format!(
                "{text}\n{published} events are published; go on with --from-line {next}"
            ),
            ..failure
        }
    }
}

/// The next line of an input that has not ended.
async fn next_line(
    input: &mut Option<mpsc::Receiver<std::io::Result<Line>>>,
) -> Option<std::io::Result<Line>> {
    match input {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// Room for a line on the connection; none when it is not read any more, and its answers tell why
/// soon.
async fn place(body: Option<&mpsc::Sender<Bytes>>) -> Option<mpsc::Permit<'_, Bytes>> {
    match body.map(mpsc::Sender::reserve) {
        Some(place) => match place.await {
            Ok(place) => Some(place),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
