"""The core of every subscription: bytes and answers in; events, requests and waits out.

It owns no socket, no task and no thread. A driver calls ``step`` and does what it says, until that
is ``Deliver`` or ``Stop``. The core reads only when nothing is left to hand on: so what is unread
stays in the socket (back-pressure), and a request always begins after what the application has.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from . import _messages as wire
from ._backoff import Backoff, retry_after_seconds
from ._bookmark import Bookmark
from ._clock import Clock
from ._connection import HELLO_SECONDS, Connection
from ._intake import Intake
from ._json import JsonError, object_of
from ._options import ReadOptions
from ._steps import AskToken, Deliver, Get, Read, ReaderStep, Sleep, Stop, Tell
from ._transport import TransportPolicy
from .errors import EventTooLargeError, GapError, GaveUpError, ProtocolError, StatusError
from .models import Gap, OnGap, Received, State

__all__ = ["Reader"]

POLL_WAIT_SECONDS = 25
POLL_GRACE_SECONDS = 10.0
GOOD_AFTER_SECONDS = 10.0
QUICK_ANSWER_SECONDS = 1.0
QUICK_ANSWERS_MAX = 3
SNAPSHOT_ANSWER_BYTES = 2 * 1024 * 1024
FINAL_STATUSES = (400, 403, 404)
PROXY_STATUSES = (502, 504)


class Reader:
    """One subscription. ``renewable``: the token comes from a function."""

    def __init__(
        self, options: ReadOptions, clock: Clock, log: logging.Logger, renewable: bool = False,
    ) -> None:
        self._options = options
        self._clock = clock
        self._log = log
        self._renewable = renewable
        self._bookmark = Bookmark(options)
        self._intake = Intake(self._bookmark, log)
        self._policy = TransportPolicy(clock, options.transport, options.sse_again)
        self._backoff = Backoff(clock)

        self._connection: Connection | None = None
        self._wait: float | None = None
        self._stop: Stop | None = None
        self._token: str | None = None
        self._token_asked = False
        self._refused_token: str | None = None
        self._was_refused = False

        self._failing_since: float | None = None
        self._ended_orderly = False
        self._violations = 0
        self._quick_answers = 0
        self._requests = 0

    # What the driver and the application ask

    @property
    def state(self) -> State:
        """A snapshot for the application."""
        intake = self._intake

        return State(
            intake.phase, self._policy.current, self._bookmark.cursor, intake.lag,
            max(0, self._requests - 1), intake.gaps, intake.duplicates,
        )

    def finish(self) -> None:
        """The application has finished with the event that it was handed last (rule 2)."""
        self._bookmark.finish()

    def close(self) -> None:
        """The caller has enough. What it holds stays unfinished."""
        self._end(None)

    def take_error(self) -> Exception | None:
        """Why it has stopped; reported once."""
        error = self._stop.error if self._stop else None
        self._stop = Stop(None)
        return error

    def step(self) -> ReaderStep:
        """What to do next."""
        while self._stop is None:
            if self._intake.gap is not None:
                return Tell(self._intake.gap)

            if self._intake.inbox:
                if (event := self._next_event()) is not None:
                    return Deliver(event)
            elif self._wait is not None:
                self._intake.phase = "waiting"
                return Sleep(self._wait)
            elif self._connection is not None:
                return Read(self._connection.read_limit(self._clock.now()))
            elif not self._token_asked:
                return AskToken(self._refused_token)
            else:
                return self._ask()

        return self._stop

    # What the driver tells

    def token_given(self, token: str | None) -> None:
        """The token for the next request."""
        self._token = token
        self._token_asked = True

    def head(self, media_type: str) -> None:
        """Status 200."""
        connection = self._open_connection()
        expected = "text/event-stream" if connection.transport == "sse" else "application/json"

        if media_type.split(";")[0].strip().lower() != expected:
            self.refused(200, {}, b"")
            return

        connection.head_at = self._clock.now()
        self._accept_token()
        if connection.transport == "sse":
            self._policy.good()

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Any other status, or another kind of answer. ``headers`` has names in lower case."""
        problem = object_of(body)

        if status == 410:
            self._gone(problem)
        elif status == 401:
            self._unauthenticated(problem)
        elif status in FINAL_STATUSES:
            self._end(StatusError(status, problem))
        else:
            if status == 200 or status in PROXY_STATUSES:
                self._policy.bad_answer()
            else:
                self._policy.poll_failed()
            floor = retry_after_seconds(headers.get("retry-after"), self._clock.wall())
            self._retry(StatusError(status, problem), floor)

    def received(self, data: bytes) -> None:
        """Bytes of the body, decoded."""
        connection = self._open_connection()
        connection.any_byte = connection.any_byte or bool(data)

        if connection.transport == "poll":
            connection.body += data
            if len(connection.body) > SNAPSHOT_ANSWER_BYTES + self._options.max_line_bytes:
                self._end(EventTooLargeError("a poll's answer is larger than events may be"))
            return

        try:
            self._intake.inbox.extend(connection.parser.feed(data))
        except EventTooLargeError as error:
            self._end(error)

    def ended(self) -> None:
        """The body is complete, or the stream has ended in order."""
        if self._open_connection().transport == "poll":
            self._poll_answered()
        else:
            self._stream_ended(None)

    def failed(self, error: Exception) -> None:
        """The network failed, before or after the head."""
        connection = self._open_connection()

        if connection.transport == "poll" or connection.head_at is None:
            self._policy.poll_failed()
            self._retry(error)
        else:
            self._stream_ended(error)

    def silent(self) -> None:
        """The limit of ``Read`` or ``Get`` has passed without a byte."""
        connection = self._open_connection()
        stream = connection.transport == "sse" and connection.head_at is not None

        if stream and not connection.any_byte and self._options.transport == "auto":
            self._log.info("no byte of the stream came through; long-poll from here")
            self._policy.nothing_came()
            self._connection = None
            self._next_request()
        else:
            self.failed(TimeoutError("nothing came within the time that the heartbeat allows"))

    def slept(self) -> None:
        """The wait is over."""
        self._wait = None
        self._next_request()

    def interrupted(self) -> None:
        """The application cancelled a read, which closed the connection."""
        self._connection = None
        self._next_request()

    def gap_told(self, choice: OnGap) -> None:
        """The application knows of the gap, and wants this."""
        gap, self._intake.gap = self._intake.gap, None

        if gap is None:
            return
        if choice == "fail":
            self._end(GapError(gap))
        elif choice == "snapshot":
            self._bookmark.restart_with_snapshot()
            self._intake.inbox.clear()
            self._connection = None
            self._next_request()

    # Requests and their ends

    def _ask(self) -> Get:
        self._intake.phase = "connecting"
        transport = self._policy.next()
        parameters = [("topic", topic) for topic in self._options.topics]
        limit = HELLO_SECONDS
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store",
                   "Accept-Encoding": "identity"}

        if transport == "poll":
            # Without a cursor a lost answer would lose events: the first poll only asks for one.
            wait = 0 if self._bookmark.from_latest else POLL_WAIT_SECONDS
            limit = wait + POLL_GRACE_SECONDS
            headers = {"Accept": "application/json"}

        parameters += self._bookmark.parameters()
        if self._options.on_gap == "fail":
            parameters.append(("on_gap", "fail"))
        if transport == "poll":
            parameters.append(("wait", str(wait)))

        self._intake.epoch = None
        self._requests += transport == "sse" or self._connection_was_lost()
        self._connection = Connection(
            transport, self._clock.now(), limit, self._options.max_line_bytes)

        return Get(f"/v1/{transport}", tuple(parameters), headers, limit, self._token)

    def _connection_was_lost(self) -> bool:
        """A poll after an answered poll is no reconnect."""
        return self._requests == 0 or self._failing_since is not None

    def _open_connection(self) -> Connection:
        if self._connection is not None:
            return self._connection
        if self._stop is None:
            raise RuntimeError("the driver spoke of a connection that is not open")

        # Closed from elsewhere while the driver was reading: what it tells changes nothing more.
        return Connection("sse", self._clock.now(), 0.0, self._options.max_line_bytes)

    def _next_request(self) -> None:
        """A cached token may have run out until now: the driver looks."""
        self._token_asked = False

    def _retry(self, error: Exception, floor_seconds: float = 0.0) -> None:
        self._wait_after(error, self._backoff.after_failure(floor_seconds))

    def _wait_after(self, error: Exception | None, seconds: float) -> None:
        now, longest = self._clock.now(), self._options.max_elapsed
        self._connection = None
        if self._stop is not None:
            return

        if self._failing_since is None:
            self._failing_since = now
        if longest is not None and now + seconds - self._failing_since > longest:
            gave_up = GaveUpError(f"no good connection for {longest:g} s")
            gave_up.__cause__ = error
            self._end(gave_up)
            return

        self._log.info("connection ended (%s); the next try is in %.3f s", error or "EOF", seconds)
        self._wait = seconds

    def _stream_ended(self, error: Exception | None) -> None:
        connection = self._open_connection()
        lasted = connection.seconds_open(self._clock.now())
        good = lasted >= GOOD_AFTER_SECONDS
        orderly = connection.closing or (error is None and good)
        self._policy.stream_ended(lasted, connection.closing)

        if good:
            self._was_good()
        if not orderly:
            self._retry(error or ConnectionError("the stream ended early"))
            return

        seconds = self._backoff.after_orderly_end(connection.retry_ms)
        if self._ended_orderly:
            seconds = max(seconds, self._backoff.after_failure())
        self._ended_orderly = True
        self._wait_after(error, seconds)

    def _poll_answered(self) -> None:
        connection = self._open_connection()
        if connection.head_at is None:
            return

        try:
            messages = wire.messages_of_answer(bytes(connection.body))
        except ProtocolError as error:
            self._policy.poll_failed()
            self._retry(error)
            return

        self._policy.good()
        self._intake.inbox.extend(messages)
        self._connection = None
        self._next_request()
        self._slow_down(messages, self._clock.now() - connection.asked_at)

    def _slow_down(self, messages: list[wire.Message], seconds: float) -> None:
        """An empty answer comes after ``wait``; one that comes at once must not make us spin."""
        moved = any(isinstance(m, (wire.EventText, wire.GapMessage)) for m in messages)
        quick = not moved and seconds < QUICK_ANSWER_SECONDS
        self._quick_answers = self._quick_answers + 1 if quick else 0

        if not quick:
            self._was_good()
        elif self._quick_answers > QUICK_ANSWERS_MAX:
            self._wait = self._backoff.after_failure()

    def _was_good(self) -> None:
        self._backoff.reset()
        self._failing_since = None
        self._ended_orderly = False

    def _accept_token(self) -> None:
        self._was_refused = False
        self._refused_token = None

    def _unauthenticated(self, problem: Mapping[str, object]) -> None:
        if not self._renewable or self._was_refused:
            self._end(StatusError(401, problem))
            return

        self._was_refused = True
        self._refused_token = self._token
        self._connection = None
        self._next_request()

    def _gone(self, problem: Mapping[str, object]) -> None:
        self._connection = None

        if "reason" not in problem or self._options.on_gap == "continue":
            self._end(StatusError(410, problem))
        else:
            self._intake.take_gap(Gap.parse(problem))

    def _end(self, error: Exception | None) -> None:
        if self._stop is None:
            self._stop = Stop(error)
            self._intake.phase = "closed"
            self._connection = None
            self._intake.inbox.clear()

    def _next_event(self) -> Received | None:
        """Works on the inbox up to the next event that is handed on."""
        try:
            event = self._intake.next_event(self._connection)
        except (ProtocolError, JsonError) as error:
            self._broken(error)
            return None

        if event is not None:
            self._violations = 0
            self._was_good()

        return event

    def _broken(self, error: Exception) -> None:
        """Rule 3: the first time a reconnect may help."""
        self._intake.inbox.clear()
        self._violations += 1

        if self._violations > 1:
            self._end(ProtocolError(str(error)))
        else:
            self._log.warning("the server broke the contract, reconnecting once: %s", error)
            self._retry(error)
