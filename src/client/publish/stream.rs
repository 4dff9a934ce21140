//! Lines on their way to the gateway, over as many requests as it takes.
//!
//! Invariants:
//! - at most a window of lines and bytes (`limits::PUBLISH_WINDOW_LINES` and `_BYTES`) has no
//!   answer yet; the input is not read on meanwhile;
//! - a line that may have been published is sent again only when it has an id;
//! - after a refusal of the token a fresh one is tried, and a second refusal is final until a line
//!   has been settled;
//! - a request is ended and the next one begun when answers stay away (see [`super::pace`]).

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep_until};

use super::PublishWire;
use super::errors::{ended_early, failed_input, passes, unanswered};
use super::line::{PublishLine, next_line};
use super::outage::Outage;
use super::pace::Pace;
use super::report::PublishReport;
use super::request::{LineReply, LineRequest, RequestEvent};
use super::window::{LineOutcome, LineWindow};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::http::GatewayHttp;
use crate::client::token::BearerToken;

/// Publishes lines in their order, and reports about each.
///
/// Call [`next`](Self::next) until it gives `None`, or take it as a stream
/// ([`into_stream`](Self::into_stream)). Lines are read only while it is asked.
///
/// - A line of JSON without an id is never sent twice: if its answer is lost, publishing ends with
///   [`ClientErrorKind::OutcomeUnknown`].
/// - An outage is waited for ([`Client::retry_for`](crate::client::Client::retry_for)), but not
///   before the gateway has been reached once, unless [`wait_at_first`](Self::wait_at_first) says
///   so.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says something of its own, and they change at different times"
)]
pub struct Publisher<K, I> {
    http: GatewayHttp,
    wire: PublishWire,
    /// None at its end.
    input: Option<I>,
    lines: LineWindow<K>,
    pace: Pace,
    link: PublisherLink,
    outage: Outage,
    /// The token was refused, and no line has been settled since.
    is_renewing: bool,
    /// The gateway has been reached at least once.
    has_connected: bool,
    /// It is waited for before that, too.
    waits_at_first: bool,
    reports: VecDeque<PublishReport<K>>,
    is_stopping: bool,
    has_ended: bool,
}

enum PublisherLink {
    /// The last request was ended in good order, and the next one begins with the next line.
    Idle,
    /// The next request begins then.
    Waiting(Instant),
    Open(LineRequest),
}

/// What a publisher waits for.
enum Happened<K> {
    Request(RequestEvent),
    /// The input's next line, or its end.
    Line(Option<io::Result<PublishLine<K>>>),
    /// Nothing came in time.
    Quiet,
}

impl<K, I> fmt::Debug for Publisher<K, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("url", &self.http.address())
            .field("unanswered", &self.lines.unanswered())
            .finish_non_exhaustive()
    }
}

impl<K, I> Publisher<K, I>
where
    I: Stream<Item = io::Result<PublishLine<K>>> + Unpin,
{
    pub(in crate::client) fn new(
        http: GatewayHttp,
        wire: PublishWire,
        retry_for: Duration,
        lines: I,
    ) -> Self {
        Publisher {
            input: Some(lines),
            lines: LineWindow::new(http.has_token()),
            outage: Outage::new(retry_for, http.clock().clone()),
            http,
            wire,
            pace: Pace::new(),
            link: PublisherLink::Waiting(Instant::now()),
            is_renewing: false,
            has_connected: false,
            waits_at_first: false,
            reports: VecDeque::new(),
            is_stopping: false,
            has_ended: false,
        }
    }

    /// Waits also for a gateway that has never been reached, for as long as for one that is away.
    /// It may not have started yet; and a wrong address is found out that much later.
    #[must_use]
    pub fn wait_at_first(mut self) -> Self {
        self.waits_at_first = true;
        self
    }

    /// The next report; `None` when all lines are settled, or behind an error. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// When lines are left that cannot be published now, or whose outcome is unknown; see
    /// [`unsettled`](Self::unsettled).
    pub async fn next(&mut self) -> Option<Result<PublishReport<K>, ClientError>> {
        loop {
            // What is known already is delivered before anything is waited for.
            if let Some(report) = self.reports.pop_front() {
                return Some(Ok(report));
            }
            if self.has_ended {
                return None;
            }
            // An error is the last report: lines that are left are unsettled.
            if let Err(error) = self.step().await {
                self.has_ended = true;
                return Some(Err(error));
            }
        }
    }

    /// The reports as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<PublishReport<K>, ClientError>> {
        stream::unfold(self, |mut publisher| async {
            let report = publisher.next().await?;
            Some((report, publisher))
        })
    }

    /// Sends nothing more. [`next`](Self::next) goes on to report what the gateway still answers.
    pub fn stop(&mut self) {
        // Only the input is given up: lines on their way still get their answers.
        self.is_stopping = true;
        self.input = None;
    }

    /// The keys of lines that have been taken from the input and are neither published nor refused.
    pub fn unsettled(&self) -> impl Iterator<Item = &K> {
        self.lines.unsettled()
    }

    async fn step(&mut self) -> Result<(), ClientError> {
        match self.link {
            PublisherLink::Open(_) => return self.exchange().await,
            // Nothing is on its way, so there is nothing left to report.
            _ if self.is_stopping => self.has_ended = true,
            PublisherLink::Waiting(until) => {
                sleep_until(until).await;
                self.open();
            }
            PublisherLink::Idle => return self.wait_for_a_line().await,
        }
        Ok(())
    }

    /// The next request begins.
    fn open(&mut self) {
        self.link = PublisherLink::Open(LineRequest::open(&self.http, &self.wire));
        self.pace.begin();
    }

    /// Opens no request before there is something to send.
    async fn wait_for_a_line(&mut self) -> Result<(), ClientError> {
        // Lines that the last request had no time for go first.
        if self.lines.has_unsent() {
            self.open();
            return Ok(());
        }
        if self.input.is_none() {
            self.has_ended = true;
            return Ok(());
        }
        // A request that says nothing would only be closed again.
        let line = next_line(&mut self.input).await;
        self.take_line(line)
    }

    /// One thing that happens while a request is open.
    async fn exchange(&mut self) -> Result<(), ClientError> {
        // No more lines are read than may be on their way.
        let has_space = self.input.is_some() && self.lines.has_space(self.pace.window_bytes());
        let is_over = self.is_request_over();
        let PublisherLink::Open(request) = &mut self.link else {
            return Ok(());
        };
        if is_over {
            request.end();
        }

        // A request that is quiet is ended; one that has ended and stays quiet is lost.
        let deadline = if request.is_open() {
            self.pace.ends_at(self.lines.unanswered(), has_space)
        } else {
            request.lost_at(self.pace.heard_at())
        };
        // Each branch keeps its state elsewhere, so that the others may win at any time.
        let happened = tokio::select! {
            event = request.next(self.lines.has_unsent()) => Happened::Request(event),
            line = next_line(&mut self.input), if has_space => Happened::Line(line),
            () = sleep_until(deadline) => Happened::Quiet,
        };
        self.take(happened)
    }

    /// Is the open request to carry no more lines?
    fn is_request_over(&self) -> bool {
        let PublisherLink::Open(request) = &self.link else {
            return false;
        };
        let is_all_sent = self.input.is_none() && !self.lines.has_unsent();
        is_all_sent || self.is_stopping || self.pace.is_paused() || request.put_off.is_some()
    }

    fn take(&mut self, happened: Happened<K>) -> Result<(), ClientError> {
        match happened {
            Happened::Request(RequestEvent::Reply(reply)) => self.take_reply(reply),
            Happened::Request(RequestEvent::Space) => {
                self.send();
                Ok(())
            }
            Happened::Line(line) => self.take_line(line),
            Happened::Quiet => self.quiet(),
        }
    }

    /// Nothing came for as long as may be: the request is ended, or an ended one is lost.
    fn quiet(&mut self) -> Result<(), ClientError> {
        // The next step ends the request, and its lines are answered then.
        if matches!(&self.link, PublisherLink::Open(request) if request.is_open()) {
            self.pace.pause(self.lines.unanswered());
            return Ok(());
        }
        self.broken(unanswered())
    }

    fn take_line(&mut self, line: Option<io::Result<PublishLine<K>>>) -> Result<(), ClientError> {
        match line.transpose().map_err(|e| failed_input(&e))? {
            None => self.input = None,
            // The gateway would refuse the whole stream for it.
            Some(line) if line.is_too_long() => {
                self.reports.push_back(PublishReport::too_long(line));
            }
            Some(line) => self.lines.push(line),
        }
        Ok(())
    }

    fn send(&mut self) {
        let PublisherLink::Open(request) = &self.link else {
            return;
        };
        // Counted before the line, which shows whether the request had been idle.
        let unanswered = self.lines.unanswered();
        if let Some(text) = self.lines.send() {
            request.send(text);
            self.pace.sent(unanswered);
        }
    }

    fn take_reply(&mut self, reply: Option<LineReply>) -> Result<(), ClientError> {
        match reply {
            Some(LineReply::Connected(token)) => {
                self.let_in(token);
                self.heard();
            }
            Some(LineReply::Answer(answer)) => {
                self.heard();
                self.take_answer(&answer);
            }
            // The error or the end is the last reply of the request.
            Some(LineReply::Failed(error)) => return self.broken(error),
            None => return self.request_ended(),
        }
        Ok(())
    }

    fn let_in(&mut self, token: Option<BearerToken>) {
        self.has_connected = true;
        if let PublisherLink::Open(request) = &mut self.link {
            request.token = token;
        }
    }

    fn heard(&mut self) {
        let goes_on = matches!(&self.link, PublisherLink::Open(request) if request.is_open());
        self.pace.heard(goes_on);
    }

    fn take_answer(&mut self, answer: &str) {
        match self.lines.answered(answer) {
            // A gateway that settles lines is not away.
            Some(LineOutcome::Settled(report)) => {
                self.outage.end();
                self.is_renewing = false;
                self.reports.push_back(report);
            }
            Some(LineOutcome::PutOff(error)) => {
                // The request carries no more lines, and the next one begins with this line.
                if let PublisherLink::Open(request) = &mut self.link {
                    // One that has been good until now may have expired.
                    let _ = self.http.refused(request.token.as_ref(), error.clone());
                    request.put_off = Some(error);
                }
            }
            None => {}
        }
    }

    /// The gateway has ended its answers.
    fn request_ended(&mut self) -> Result<(), ClientError> {
        // Lines that the gateway put off are an outage, although the request ended well.
        if let PublisherLink::Open(request) = &mut self.link
            && let Some(error) = request.put_off.take()
        {
            return self.broken(error);
        }

        // All is settled, or the request was ended for a while, or the gateway has ended it.
        if self.input.is_none() && self.lines.is_empty() {
            self.has_ended = true;
        } else if self.pace.is_paused() && self.lines.unanswered() == 0 {
            self.link = PublisherLink::Idle;
            self.outage.end();
        } else {
            return self.broken(ended_early());
        }
        Ok(())
    }

    /// The gateway does not take the token: the next request has a fresh one.
    fn renew(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !self.http.has_token() || mem::replace(&mut self.is_renewing, true) {
            return Err(error);
        }
        // What is not answered is not published either: a gateway that refuses the token of one
        // line takes none behind it.
        self.lines.put_back();
        self.link = PublisherLink::Waiting(Instant::now());
        Ok(())
    }

    /// The request has failed: the next one begins after a while, unless that makes no sense.
    fn broken(&mut self, error: ClientError) -> Result<(), ClientError> {
        // Whoever stops does not wait for the next request.
        if self.is_stopping {
            self.has_ended = true;
            return Ok(());
        }
        if error.kind() == ClientErrorKind::Unauthenticated {
            return self.renew(error);
        }
        // A gateway that was never there is more likely a wrong address than an outage.
        let is_known = self.has_connected || self.waits_at_first;
        if !is_known || !passes(&error) {
            return Err(error);
        }
        self.lines.take_back(&error)?;
        // An outage is reported once, when it begins.
        let is_new = !self.outage.has_begun();
        let Some(wait) = self.outage.wait(&error, fastrand::f64()) else {
            return Err(error);
        };
        let wait = self.http.clock().begin_wait(wait);
        self.link = PublisherLink::Waiting(Instant::now() + wait);
        if is_new {
            self.reports.push_back(PublishReport::Interrupted(error));
        }
        Ok(())
    }
}
