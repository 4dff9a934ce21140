//! What a reader knows between its connections, without any input or output of its own.
//!
//! Invariants:
//! - the position moves behind an item only once the application has asked for the next one, so an
//!   item that it had in hand when it ended comes again;
//! - a position that is known is never left for an earlier or a vaguer one;
//! - an event at or below the position is dropped and counted, never delivered twice.

use std::time::Duration;

use tokio::time::Instant;

use super::choice::{StreamEnd, TransportChoice};
use super::connection::ConnectionRecord;
use super::item::{GapReport, Interruption, LogBounds, ReadItem, Received};
use super::options::{GapPolicy, ReadOptions, ReadQuery, ReadStart, Transport};
use super::status::{ReaderActivity, ReaderStatus};
use crate::client::backoff::RetryBackoff;
use crate::client::clock::ClientClock;
use crate::client::error::{ClientError, ClientErrorKind};
use crate::client::event::ReceivedEvent;
use crate::cursor::{Cursor, Epoch, Vid};
use crate::limits;

/// The longest heartbeat that a gateway is believed to have.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub(super) struct ReaderState {
    options: ReadOptions,
    clock: ClientClock,
    choice: TransportChoice,
    /// Where to start as long as no cursor is known.
    start: ReadStart,
    /// The cursor behind all that the application has finished with.
    finished: Option<Cursor>,
    /// The cursor of the item that the application has in hand.
    in_hand: Option<Cursor>,
    /// Events up to this vid have been delivered, or were not asked for.
    delivered: Option<Vid>,
    connection: ConnectionRecord,
    backoff: RetryBackoff,
    /// Since when nothing could be read.
    away_since: Option<Instant>,
    /// Connections in a row that brought events of a log that they had not named.
    foreign_epochs: u32,
    /// The open connection is of no use any more.
    wants_new_connection: bool,
    /// A gateway has been read from at least once.
    has_connected: bool,
    status: ReaderStatus,
}

impl ReaderState {
    pub(super) fn new(options: ReadOptions, clock: ClientClock, now: Instant) -> Self {
        let start = options.start.clone();
        ReaderState {
            delivered: start.cursor().map(|cursor| cursor.vid),
            choice: TransportChoice::new(&options, clock.clone()),
            start,
            options,
            clock,
            finished: None,
            in_hand: None,
            connection: ConnectionRecord::new(now),
            backoff: RetryBackoff::default(),
            away_since: None,
            foreign_epochs: 0,
            wants_new_connection: false,
            has_connected: false,
            status: ReaderStatus::default(),
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.choice.current()
    }

    pub(super) fn status(&self) -> ReaderStatus {
        ReaderStatus {
            cursor: self.finished.clone(),
            transport: self.choice.current(),
            ..self.status.clone()
        }
    }

    /// The application asks for the next item: it has finished with the one before.
    pub(super) fn finish_item(&mut self) {
        // Only what was in hand moves the position, and only once.
        if let Some(cursor) = self.in_hand.take() {
            self.finished = Some(cursor);
        }
    }

    /// A connection begins: what it asks for.
    pub(super) fn connect(&mut self, now: Instant) -> ReadQuery {
        // What was known of the last connection says nothing about this one.
        self.connection = ConnectionRecord::new(now);
        self.choice.connect(now);
        self.status.activity = ReaderActivity::Connecting;
        self.wants_new_connection = false;
        ReadQuery {
            topics: self.options.topics.clone(),
            start: self.resume_from(),
            fails_at_gap: self.options.gap_policy == GapPolicy::Fail,
            most_wire_bytes: self.options.most_wire_bytes(),
        }
    }

    fn resume_from(&self) -> ReadStart {
        // What the application has finished with is not read again.
        match &self.finished {
            Some(cursor) => ReadStart::After(cursor.to_string()),
            None => self.start.clone(),
        }
    }

    /// How long the connection may be silent before it is taken to be dead.
    pub(super) fn silence(&self) -> Duration {
        match (self.choice.current(), self.connection.heartbeat) {
            (Transport::LongPoll, _) => limits::READ_POLL_WAIT + limits::READ_POLL_SLACK,
            (_, Some(heartbeat)) => heartbeat.mul_f64(2.5),
            // There is another way than this one.
            (_, None) if self.is_way_doubtful() => limits::READ_FIRST_BYTE_TIMEOUT,
            (_, None) => limits::READ_HELLO_TIMEOUT,
        }
    }

    fn is_way_doubtful(&self) -> bool {
        self.options.transport == Transport::Auto && self.connection.is_mute()
    }

    /// Should the open connection be left for a new one at once?
    pub(super) fn wants_new_connection(&self) -> bool {
        self.wants_new_connection
    }

    /// Takes what the connection brought; gives what the application is to get of it.
    pub(super) fn take(&mut self, received: Received) -> Result<Option<ReadItem>, ClientError> {
        // A gateway greets at once, so anything behind the head counts.
        self.connection.has_spoken = !matches!(received, Received::Opened);
        match received {
            Received::Opened => {
                self.connection.opened();
                Ok(None)
            }
            Received::Activity => Ok(None),
            Received::Bounds(bounds) => Ok(Some(self.connected(bounds))),
            Received::Event(event) => self.event(event),
            Received::CaughtUp(cursor) => {
                self.status.activity = ReaderActivity::Live;
                Ok(self.moved(cursor, ReadItem::CaughtUp))
            }
            Received::Progress(cursor) => Ok(self.moved(cursor, ReadItem::Progress)),
            Received::Gap(gap) => self.gap(gap).map(Some),
            Received::Retry(pause) => {
                self.connection.asked = Some(pause);
                Ok(None)
            }
            Received::Closing { reason, retry } => {
                self.connection.asked = Some(retry);
                self.connection.is_closing = true;
                Ok(Some(ReadItem::Closing { reason }))
            }
        }
    }

    fn connected(&mut self, bounds: LogBounds) -> ReadItem {
        self.away_since = None;
        self.has_connected = true;
        self.status.activity = ReaderActivity::CatchingUp;
        self.choice.answered();
        // The log may be another one than before: events are held against what is named here.
        self.connection.epoch = Some(bounds.epoch.clone());
        // A heartbeat of zero or of years would break the watch over silence.
        let heartbeat = Duration::from_millis(bounds.heartbeat_ms).min(LONGEST_HEARTBEAT);
        self.connection.heartbeat = Some(heartbeat).filter(|heartbeat| !heartbeat.is_zero());

        // "From now on" means the end that the log had then, also if the connection breaks before
        // anything comes.
        if self.finished.is_none() && self.start.is_latest() {
            self.finished = end_of(&bounds);
        }
        let position = self.finished.as_ref().map(|cursor| cursor.vid);
        self.status.lag = position.map(|vid| bounds.last.saturating_sub(vid));
        ReadItem::Connected(bounds)
    }

    fn event(&mut self, event: ReceivedEvent) -> Result<Option<ReadItem>, ClientError> {
        self.check_epoch(&event.cursor)?;

        // A server, or a proxy, that repeats something does no harm.
        if self
            .delivered
            .is_some_and(|delivered| event.vid <= delivered)
        {
            self.status.duplicates += 1;
            return Ok(None);
        }

        // The position moves when the next item is asked for.
        self.delivered = Some(event.vid);
        self.in_hand = Some(event.cursor.clone());
        self.connection.brought_an_event = true;
        Ok(Some(ReadItem::Event(event)))
    }

    /// An event of another log than the connection has named would be taken for one of this log.
    fn check_epoch(&mut self, cursor: &Cursor) -> Result<(), ClientError> {
        // A cursor without an epoch, of an old server, cannot be compared.
        let named = self.connection.epoch.as_deref();
        let came = cursor.epoch.as_ref().map(Epoch::as_str);
        if named.is_none() || came.is_none() || named == came {
            self.foreign_epochs = 0;
            return Ok(());
        }

        // A gateway that has just been replaced may do so once.
        self.foreign_epochs += 1;
        let kind = match self.foreign_epochs {
            1 => ClientErrorKind::Unavailable,
            _ => ClientErrorKind::Protocol,
        };
        let text = format!("the cursor {cursor} is of another log than the gateway has named");
        Err(ClientError::new(kind, text))
    }

    /// The position moved without an event. It never moves back.
    fn moved(&mut self, cursor: Cursor, item: fn(Cursor) -> ReadItem) -> Option<ReadItem> {
        // Between two polls is the time to go back to streams.
        self.wants_new_connection = self.choice.is_stream_due(Instant::now());
        // To resume from an earlier cursor would deliver events a second time.
        if self
            .delivered
            .is_some_and(|delivered| cursor.vid < delivered)
        {
            return None;
        }
        self.delivered = Some(cursor.vid);
        self.in_hand = Some(cursor.clone());
        Some(item(cursor))
    }

    fn gap(&mut self, gap: GapReport) -> Result<ReadItem, ClientError> {
        // Also a gap that comes up in the middle of a stream.
        if self.options.gap_policy == GapPolicy::Fail {
            return Err(ClientError::gap(gap));
        }
        self.status.gaps += 1;

        // Vids behind a gap may be lower than those before it.
        self.delivered = None;
        self.connection.epoch = Some(gap.epoch.clone());
        // The cursor is of no use any more: a snapshot takes its place.
        if self.options.gap_policy == GapPolicy::Snapshot {
            self.start = ReadStart::Snapshot;
            self.finished = None;
            self.wants_new_connection = true;
        }
        Ok(ReadItem::Gap(gap))
    }

    /// The connection has ended with this error: how long to wait, or the error that ends reading.
    pub(super) fn interrupted(
        &mut self,
        error: ClientError,
        now: Instant,
    ) -> Result<Interruption, ClientError> {
        // What the same request would meet again is not tried again.
        if !self.passes(&error) || self.is_away_for_too_long(now) {
            self.status.activity = ReaderActivity::Ended;
            return Err(error);
        }

        self.status.reconnects += 1;
        self.status.activity = ReaderActivity::Waiting;
        let end = self.connection.end(&error, &self.clock, now);
        let stream_end = self.connection.stream_end(&error, &self.clock, now);
        let is_held_back = self.choice.ended(stream_end, self.options.stream_again)
            && stream_end == StreamEnd::HeldBack;
        Ok(Interruption {
            // The gateway is there, so the other way to it is tried at once.
            wait: if is_held_back {
                Duration::ZERO
            } else {
                self.backoff.wait(end, fastrand::f64())
            },
            resume_from: self.resume_from().to_string(),
            error,
        })
    }

    fn passes(&self, error: &ClientError) -> bool {
        // A gateway that was trusted once has a certificate that is renewed late, or somebody is in
        // its way: both pass.
        let was_trusted = error.kind() == ClientErrorKind::Tls && self.has_connected;
        error.is_passing() || was_trusted
    }

    fn is_away_for_too_long(&mut self, now: Instant) -> bool {
        // An outage begins with its first error, and ends with the next connection.
        let since = *self.away_since.get_or_insert(now);
        self.options
            .give_up_after
            .is_some_and(|longest| now - since >= self.clock.limit(longest))
    }
}

/// The cursor of the newest event.
fn end_of(bounds: &LogBounds) -> Option<Cursor> {
    let epoch: Epoch = bounds.epoch.parse().ok()?;
    Some(Cursor {
        vid: bounds.last,
        epoch: Some(epoch),
    })
}

#[cfg(test)]
mod tests;
