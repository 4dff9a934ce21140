"""The core of publishing: events in; requests and waits out, until each has a receipt or an error.

Every event has an id, so a second try is never a second event. Trying ends before the gateway may
have forgotten the ids: then the outcome is unknown, and is said to be.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ._backoff import Backoff, retry_after_seconds
from ._clock import Clock
from ._json import object_of
from ._steps import AskToken, Post, SenderStep, Settled, Sleep
from .errors import OutcomeUnknown, StatusError, VidetteError
from .models import Event, Receipt

__all__ = ["Form", "Outbox", "Ticket", "new_id"]

Form = Literal["one", "batch", "lines"]

POST_SECONDS = 30.0
ROUND_LINES = 256
ROUND_BYTES = 1024 * 1024
QUEUE_LINES = 1024
QUEUE_BYTES = 4 * 1024 * 1024
LONGEST_ANSWER_BYTES = 16 * 1024 * 1024


def new_id(wall: float) -> str:
    """A UUIDv7: ids of one publisher sort by time."""
    milliseconds = int(wall * 1000) & (1 << 48) - 1
    bits = (milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64
            | 2 << 62 | secrets.randbits(62))
    text = f"{bits:032x}"

    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class Ticket:
    """An event on its way. ``result`` once it is ``done``."""

    def __init__(self, event: Event, wall: float) -> None:
        self.id = event.id or new_id(wall)
        self.line = _as_json(event, self.id)
        self.tried_at: float | None = None
        self._outcome: Receipt | VidetteError | None = None

    @property
    def done(self) -> bool:
        """True once there is a receipt or an error."""
        return self._outcome is not None

    def settle(self, outcome: Receipt | VidetteError) -> None:
        """The first outcome counts."""
        if self._outcome is None:
            self._outcome = outcome

    def result(self) -> Receipt:
        """The receipt. Raises the error, or ``RuntimeError`` if neither has come yet."""
        if isinstance(self._outcome, Receipt):
            return self._outcome

        raise self._outcome or RuntimeError("the event is not published yet; call flush() first")


class Outbox:
    """Publishes what is put in: ``one`` event, one atomic ``batch``, or ``lines`` in order."""

    def __init__(self, clock: Clock, form: Form, window: float, renewable: bool = False) -> None:
        self._clock = clock
        self._form = form
        self._window = window
        self._renewable = renewable
        self._backoff = Backoff(clock)
        self._queue: deque[Ticket] = deque()
        self._queue_bytes = 0
        self._round: list[Ticket] = []
        self._answered = 0
        self._answer = bytearray()
        self._wait: float | None = None
        self._token: str | None = None
        self._token_asked = False
        self._refused_token: str | None = None
        self._was_refused = False

    def put(self, event: Event) -> Ticket:
        """Adds an event; nothing is sent yet."""
        ticket = Ticket(event, self._clock.wall())
        self._queue.append(ticket)
        self._queue_bytes += len(ticket.line)
        return ticket

    @property
    def full(self) -> bool:
        """True when a stream has to send before it takes more."""
        return len(self._queue) >= QUEUE_LINES or self._queue_bytes >= QUEUE_BYTES

    # What the driver asks

    def step(self) -> SenderStep:
        """What to do next."""
        self._drop_settled()

        if not self._queue:
            return Settled()
        if self._wait is not None:
            return Sleep(self._wait)
        if not self._token_asked:
            return AskToken(self._refused_token)

        return self._post()

    # What the driver tells

    def token_given(self, token: str | None) -> None:
        """The token for the next request."""
        self._token = token
        self._token_asked = True

    def slept(self) -> None:
        """The wait is over."""
        self._wait = None
        self._token_asked = False

    def received(self, data: bytes) -> None:
        """Bytes of an answer with status 200."""
        self._was_refused = False
        self._answer += data

        if self._form == "lines":
            *lines, rest = bytes(self._answer).split(b"\n")
            self._answer = bytearray(rest)
            for line in lines:
                self._take_line(line)
        elif len(self._answer) > LONGEST_ANSWER_BYTES:
            self.failed(ConnectionError("the answer is longer than any receipt"))

    def finished(self) -> None:
        """The answer is complete."""
        self._token_asked = False

        if self._form == "lines":
            self._take_line(bytes(self._answer))
        else:
            self._take_receipts()

        if any(not ticket.done for ticket in self._round):
            self.failed(ConnectionError("the answer ended before all events had their receipt"))

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Any other status. ``headers`` has names in lower case."""
        error = StatusError(status, object_of(body))

        if status == 401 and self._renewable and not self._was_refused:
            self._was_refused = True
            self._refused_token = self._token
            self._token_asked = False
        elif _may_pass(status):
            floor = retry_after_seconds(headers.get("retry-after"), self._clock.wall())
            self._retry(error, floor)
        else:
            self._settle_round(error)

    def failed(self, error: Exception) -> None:
        """The network failed; whether the events arrived is not known."""
        self._retry(error, 0.0)

    # Rounds

    def _post(self) -> Post:
        now = self._clock.now()
        self._round = self._next_round()
        self._answered = 0
        self._answer.clear()

        for ticket in self._round:
            ticket.tried_at = now if ticket.tried_at is None else ticket.tried_at

        lines = [ticket.line for ticket in self._round]
        if self._form == "lines":
            return self._request(b"\n".join(lines) + b"\n", "application/x-ndjson")
        if self._form == "batch":
            return self._request(b"[" + b",".join(lines) + b"]", "application/json")

        return self._request(lines[0], "application/json")

    def _request(self, body: bytes, content_type: str) -> Post:
        left = min(self._deadline(ticket) for ticket in self._round) - self._clock.now()
        return Post(body, content_type, min(POST_SECONDS, max(0.0, left)), self._token)

    def _next_round(self) -> list[Ticket]:
        if self._form == "batch":
            return list(self._queue)

        chosen: list[Ticket] = []
        size = 0
        for ticket in self._queue:
            size += len(ticket.line)
            full = len(chosen) == (ROUND_LINES if self._form == "lines" else 1)
            if chosen and (full or size > ROUND_BYTES):
                break
            chosen.append(ticket)

        return chosen

    def _deadline(self, ticket: Ticket) -> float:
        return (self._clock.now() if ticket.tried_at is None else ticket.tried_at) + self._window

    def _retry(self, error: Exception, floor_seconds: float) -> None:
        seconds = self._backoff.after_failure(floor_seconds)
        next_try = self._clock.now() + seconds
        late = [t for t in self._round if not t.done and next_try >= self._deadline(t)]
        unknown = OutcomeUnknown([ticket.id for ticket in late], str(error) or repr(error))
        unknown.__cause__ = error

        for ticket in late:
            ticket.settle(unknown)
        self._drop_settled()
        self._wait = seconds if self._queue else None

    def _settle_round(self, error: VidetteError) -> None:
        for ticket in self._round:
            ticket.settle(error)
        self._token_asked = False

    def _drop_settled(self) -> None:
        if any(ticket.done for ticket in self._queue):
            self._queue = deque(ticket for ticket in self._queue if not ticket.done)
            self._queue_bytes = sum(len(ticket.line) for ticket in self._queue)

    # Answers

    def _take_line(self, line: bytes) -> None:
        if not line.strip() or self._answered >= len(self._round):
            return

        fields = object_of(line)
        if not fields:
            return  # half a line: the stream was cut here
        ticket = self._round[self._answered]
        self._answered += 1
        problem = fields.get("error")

        if not isinstance(problem, dict):
            self._take_receipt(ticket, fields)
        elif not _may_pass(_status_of(problem)):
            ticket.settle(StatusError(_status_of(problem), problem))

    def _take_receipts(self) -> None:
        fields = object_of(bytes(self._answer))
        entries = fields.get("events") if self._form == "batch" else [fields]

        if isinstance(entries, list) and len(entries) == len(self._round):
            for ticket, entry in zip(self._round, entries, strict=True):
                self._take_receipt(ticket, entry)

    def _take_receipt(self, ticket: Ticket, fields: object) -> None:
        if not isinstance(fields, dict):
            return

        vid, cursor = fields.get("vid"), fields.get("cursor")
        if isinstance(vid, int) and isinstance(cursor, str):
            ticket.settle(Receipt(vid, cursor, fields.get("duplicate") is True))
            self._backoff.reset()


def _may_pass(status: int) -> bool:
    """True for what a later try may get over; all other answers are final."""
    return status == 429 or status >= 500


def _status_of(problem: Mapping[str, Any]) -> int:
    status = problem.get("status")
    return status if isinstance(status, int) else 400


def _as_json(event: Event, event_id: str) -> bytes:
    fields: dict[str, Any] = {"topic": event.topic, "id": event_id}

    if event.type is not None:
        fields["type"] = event.type
    if event.content_type is not None:
        fields["content_type"] = event.content_type
    if event.headers:
        fields["headers"] = dict(event.headers)
    if isinstance(event.data, (bytes, bytearray, memoryview)):
        fields["data_base64"] = base64.b64encode(event.data).decode("ascii")
    else:
        fields["data"] = event.data

    text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def results(tickets: Sequence[Ticket]) -> list[Receipt]:
    """All receipts. Raises the first error."""
    return [ticket.result() for ticket in tickets]
