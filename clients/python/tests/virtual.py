"""Plays a gateway to the pure core, in virtual time: no socket, no sleep."""

from __future__ import annotations

import json
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from vidette import Gap, Received
from vidette._clock import Clock
from vidette._options import LARGEST_EVENT_BYTES, SSE_AGAIN_SECONDS, read_options
from vidette._reader import Reader
from vidette._steps import AskToken, Deliver, Get, Read, Sleep, Stop, Tell

EPOCH = "k3x9q2"
STREAM = "text/event-stream"
JSON = "application/json"
LOG = logging.getLogger("vidette.tests")


class VirtualClock(Clock):
    """Stands still until it is advanced; chance is one fixed number."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 1000.0
        self.wall_seconds = 1_700_000_000.0
        self.chance = 0.5

    def advance(self, seconds: float) -> None:
        """Time goes by."""
        self.seconds += seconds
        self.wall_seconds += seconds

    def now(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return self.wall_seconds

    def random(self) -> float:
        return self.chance


@dataclass(frozen=True)
class Pause:
    """So many seconds before what is next."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """The network fails; without bytes before it, it fails before the answer."""


@dataclass(frozen=True)
class Silence:
    """Nothing comes any more."""


@dataclass(frozen=True)
class Answer:
    """One answer of the gateway: what comes in its body, and how it ends (in order if not told)."""

    parts: tuple[bytes | Pause | Cut | Silence, ...] = ()
    status: int = 200
    media_type: str = STREAM
    headers: dict[str, str] = field(default_factory=dict)


def stream(*parts: bytes | Pause | Cut | Silence) -> Answer:
    """A stream of server-sent events."""
    return Answer(parts)


def poll(*vids: int, up_to_date: bool = True, epoch: str = EPOCH, **fields: Any) -> Answer:
    """An answer of long-poll."""
    vid = fields.pop("vid", vids[-1] if vids else 0)
    answer = {"epoch": epoch, "first": 1, "last": vid, "vid": vid, "cursor": f"{vid}-{epoch}",
              "up_to_date": up_to_date, "events": [event_object(v) for v in vids], **fields}

    return Answer((json.dumps(answer).encode(),), media_type=JSON)


def refusal(status: int, media_type: str = "application/problem+json", **headers: str) -> Answer:
    """A problem, or a page of a proxy."""
    body = json.dumps({"status": status, "detail": "no"}).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer((body,), status, media_type, names)


def hello(last: int = 100, epoch: str = EPOCH, heartbeat_ms: int = 15000, **more: Any) -> bytes:
    """The first block of a stream."""
    fields = {"epoch": epoch, "first": 1, "last": last, "heartbeat_ms": heartbeat_ms, **more}
    return b"event: vidette.hello\ndata: " + json.dumps(fields).encode() + b"\n\n"


def event_object(vid: int, data: Any = None, **more: Any) -> dict[str, Any]:
    """The JSON object of an event."""
    return {"vid": vid, "topic": "door.3", "time": "2026-11-22T10:00:00.123Z", "data": data, **more}


def event(vid: int, epoch: str = EPOCH, data: Any = None, **more: Any) -> bytes:
    """The block of an event."""
    text = json.dumps(event_object(vid, data, **more), ensure_ascii=False)
    return f"id: {vid}-{epoch}\ndata: {text}\n\n".encode()


def progress(vid: int, epoch: str = EPOCH) -> bytes:
    """A block that has only an id."""
    return f"id: {vid}-{epoch}\n\n".encode()


def caught_up(vid: int, epoch: str = EPOCH) -> bytes:
    """The live end."""
    data = f'{{"cursor":"{vid}-{epoch}"}}'
    return f"id: {vid}-{epoch}\nevent: vidette.caught_up\ndata: {data}\n\n".encode()


def gap(reason: str, requested: str, first: int, last: int, epoch: str = EPOCH) -> bytes:
    """Events are gone."""
    fields = {"reason": reason, "requested": requested, "first": first, "last": last,
              "epoch": epoch}
    return b"event: vidette.gap\ndata: " + json.dumps(fields).encode() + b"\n\n"


def closing(reason: str = "shutdown", retry_ms: int = 2000) -> bytes:
    """The gateway ends the stream."""
    data = f'{{"reason":"{reason}","retry_ms":{retry_ms}}}'
    return f"retry: {retry_ms}\nevent: vidette.closing\ndata: {data}\n\n".encode()


class Play:
    """A subscription and what it did. It goes on while there are answers to its requests."""

    def __init__(self, *, tokens: list[str] | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.policy = options.get("on_gap", "continue")
        settings: dict[str, Any] = {
            "topics": ("door.*",), "after": None, "since": None, "snapshot": False,
            "on_gap": "continue", "transport": "auto", "max_elapsed": None,
            "max_event_bytes": LARGEST_EVENT_BYTES, "sse_again": SSE_AGAIN_SECONDS, **options,
        }
        self.reader = Reader(read_options(**settings), self.clock, LOG, tokens is not None)
        self.tokens = tokens
        self.refused_tokens: list[str | None] = []
        self.handed_on: list[int | Gap] = []
        self.events: list[Received] = []
        self.requests: list[Get] = []
        self.waits: list[float] = []
        self.read_limits: list[float] = []
        self.stopped = False
        self.error: Exception | None = None
        self._parts: deque[bytes | Pause | Cut | Silence] = deque()

    def answer(self, *answers: Answer, take: int = -1) -> Play:
        """Goes on until the answers, or ``take`` events, are used up. The last is unfinished."""
        left = deque(answers)

        while take != 0 and not self.stopped:
            match self.reader.step():
                case Deliver(received):
                    self.events.append(received)
                    self.handed_on.append(received.vid)
                    take -= 1
                    if take != 0:
                        self.reader.finish()
                case Tell(told):
                    self.handed_on.append(told)
                    self.reader.gap_told(self.policy)
                case Stop(error):
                    self.stopped, self.error = True, error
                case Sleep(seconds):
                    self.waits.append(seconds)
                    self.clock.advance(seconds)
                    self.reader.slept()
                case AskToken(refused):
                    self.refused_tokens.append(refused)
                    self.reader.token_given(self._token(refused))
                case Get() as request:
                    self.requests.append(request)
                    if not left:
                        self.reader.interrupted()
                        return self
                    self._begin(left.popleft())
                case Read(limit):
                    self.read_limits.append(limit)
                    self._read(limit)

        return self

    def after(self) -> list[str | None]:
        """The ``after`` of each request."""
        return [dict(request.parameters).get("after") for request in self.requests]

    def paths(self) -> list[str]:
        """The path of each request."""
        return [request.path for request in self.requests]

    def _token(self, refused: str | None) -> str | None:
        if self.tokens is None:
            return None
        if len(self.tokens) > 1 and self.tokens[0] == refused:
            self.tokens.pop(0)
        return self.tokens[0]

    def _begin(self, answer: Answer) -> None:
        self._parts = deque(answer.parts)

        if answer.parts[:1] == (Cut(),):
            self.reader.failed(ConnectionError("refused"))
        elif answer.status == 200:
            self.reader.head(answer.media_type)
        else:
            body = b"".join(part for part in answer.parts if isinstance(part, bytes))
            self.reader.refused(answer.status, answer.headers, body)

    def _read(self, limit: float) -> None:
        part = self._parts.popleft() if self._parts else None

        match part:
            case None:
                self.reader.ended()
            case bytes():
                self.reader.received(part)
            case Cut():
                self.reader.failed(ConnectionError("cut"))
            case Pause(seconds):
                self.clock.advance(seconds)
            case Silence():
                self.clock.advance(limit)
                self.reader.silent()
