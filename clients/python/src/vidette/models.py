"""What goes in and out: events, gaps, receipts and the state of a subscription."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ._json import JsonError, Member, members

__all__ = ["Event", "Gap", "OnGap", "Phase", "Receipt", "Received", "State", "TransportChoice"]

OnGap = Literal["continue", "fail", "snapshot"]
Phase = Literal["connecting", "catching-up", "live", "waiting", "closed"]
TransportChoice = Literal["auto", "sse", "poll"]


@dataclass(frozen=True)
class Event:
    """An event to be published.

    ``data`` is any JSON value, or ``bytes``. A ``str`` is published as text. Without an ``id`` the
    library makes one, so that a second try is never a second event.

    >>> Event("door.3", {"no": 3}, type="opened").topic
    'door.3'
    """

    topic: str
    data: Any = None
    type: str | None = None
    id: str | None = None
    content_type: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Received:
    """An event that was read.

    ``cursor`` is the position behind the event: store it, and give it to ``after=`` next time.
    """

    vid: int
    cursor: str
    topic: str
    time: str
    type: str | None = None
    id: str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    data: str | bytes = ""
    """The JSON text with all its digits, the text, or the bytes, as they were published."""
    raw: str | None = None
    """``data`` as the JSON text that was sent (text has its quotes); ``None`` for bytes."""
    value: Any = None

    @property
    def json(self) -> Any:
        """The parsed value of the data. Raises ``ValueError`` for bytes.

        For exact decimal fractions parse ``raw`` with ``json.loads(e.raw, parse_float=Decimal)``.
        """
        if self.raw is None:
            raise ValueError(f"the data of {self.cursor} is bytes ({self.content_type}), not JSON")
        return self.value

    @staticmethod
    def parse(text: str, cursor: str | None, epoch: str | None) -> Received:
        """Reads the event object of SSE and long-poll; raises ``JsonError`` if it is none."""
        fields = members(text)
        vid = _typed(fields, "vid", int)
        content_type, data, raw, value = _data(fields)

        return Received(
            vid=vid,
            cursor=cursor or (f"{vid}-{epoch}" if epoch else str(vid)),
            topic=_typed(fields, "topic", str),
            time=_optional(fields, "time") or "",
            type=_optional(fields, "type"),
            id=_optional(fields, "id"),
            content_type=content_type,
            headers=_headers(fields),
            data=data, raw=raw, value=value,
        )


@dataclass(frozen=True)
class Gap:
    """Events between ``requested`` and what follows are not retained any more.

    ``reason`` is ``expired``, ``reset`` (another log), ``ahead``, or one that is newer than this
    library.
    """

    reason: str
    requested: str
    first: int
    last: int
    epoch: str

    @staticmethod
    def parse(fields: Mapping[str, Any]) -> Gap:
        """Reads a gap object; what is missing or odd becomes empty or 0."""
        def number(name: str) -> int:
            value = fields.get(name)
            return value if isinstance(value, int) else 0

        return Gap(
            str(fields.get("reason", "")), str(fields.get("requested", "")),
            number("first"), number("last"), str(fields.get("epoch", "")),
        )


@dataclass(frozen=True)
class Receipt:
    """An event is published and durable. ``duplicate``: its id was known, nothing was added."""

    vid: int
    cursor: str
    duplicate: bool = False


@dataclass(frozen=True)
class State:
    """How a subscription is doing, as of now.

    ``cursor`` is the one to save; ``lag`` is how many vids it was behind at the last hello.
    """

    phase: Phase
    transport: Literal["sse", "poll"]
    cursor: str | None
    lag: int | None
    reconnects: int
    gaps: int
    duplicates: int


def _typed(fields: Mapping[str, Member], name: str, kind: type[Any]) -> Any:
    member = fields.get(name)

    if member is None or not isinstance(member.value, kind) or isinstance(member.value, bool):
        raise JsonError(f"the event has no {name}")

    return member.value


def _optional(fields: Mapping[str, Member], name: str) -> str | None:
    member = fields.get(name)
    return member.value if member and isinstance(member.value, str) else None


def _headers(fields: Mapping[str, Member]) -> dict[str, str]:
    member = fields.get("headers")
    return dict(member.value) if member and isinstance(member.value, dict) else {}


def _data(fields: Mapping[str, Member]) -> tuple[str, str | bytes, str | None, Any]:
    """Content type, data, JSON text and parsed value."""
    declared = _optional(fields, "content_type")
    packed = fields.get("data_base64")

    if packed is not None:
        try:
            data = base64.b64decode(packed.value, validate=True)
        except (TypeError, ValueError) as error:
            raise JsonError("data_base64 is not base64") from error
        return declared or "application/octet-stream", data, None, None

    member = fields.get("data", Member(None, "null"))
    if isinstance(member.value, str):
        return declared or "text/plain", member.value, member.text, member.value

    return declared or "application/json", member.text, member.text, member.value
