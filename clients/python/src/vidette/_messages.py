"""What a subscription yields (the contract, section 4), the same for SSE and long-poll."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ._json import JsonError, elements, members, object_of
from ._sse import Block
from .errors import ProtocolError
from .models import Gap

__all__ = [
    "CaughtUp", "Closing", "EventText", "GapMessage", "Hello", "Message", "Progress",
    "messages_of_answer", "messages_of_block",
]


@dataclass(frozen=True)
class Hello:
    """``served`` is the filter that is left where the caller's rights cut it down."""

    epoch: str
    last: int | None
    heartbeat_seconds: float | None
    served: tuple[str, ...] | None


@dataclass(frozen=True)
class EventText:
    """The event object, not parsed yet."""

    text: str
    cursor: str | None


@dataclass(frozen=True)
class Progress:
    cursor: str


@dataclass(frozen=True)
class CaughtUp:
    cursor: str | None


@dataclass(frozen=True)
class GapMessage:
    gap: Gap


@dataclass(frozen=True)
class Closing:
    reason: str
    retry_ms: int | None


Message = Hello | EventText | Progress | CaughtUp | GapMessage | Closing


def messages_of_block(block: Block) -> Iterator[Message]:
    """The messages of one SSE block. Blocks of a later version of the gateway are passed over."""
    if not block.event.startswith("vidette."):
        if block.data is not None:
            yield EventText(block.data, block.id)
        elif block.id:
            yield Progress(block.id)
        return

    fields = object_of(block.data or "")

    if block.event == "vidette.hello":
        yield _hello(fields)
    elif block.event == "vidette.gap":
        yield GapMessage(Gap.parse(fields))
    elif block.event == "vidette.caught_up":
        yield CaughtUp(_text(fields, "cursor") or block.id)
    elif block.event == "vidette.closing":
        yield Closing(_text(fields, "reason") or "", _number(fields, "retry_ms"))
    elif block.id:
        yield Progress(block.id)


def messages_of_answer(body: bytes) -> list[Message]:
    """The messages of a poll's answer. Raises ``ProtocolError`` if it is none."""
    try:
        answer = members(body.decode("utf-8"))
        fields = {name: member.value for name, member in answer.items()}
        epoch, cursor = _text(fields, "epoch"), _text(fields, "cursor")
        events = list(elements(answer["events"].text))
    except (JsonError, KeyError, UnicodeDecodeError) as error:
        raise ProtocolError("a poll was answered with something else than events") from error

    if epoch is None or cursor is None:
        raise ProtocolError("a poll was answered without its position")

    messages: list[Message] = [_hello(fields)]
    if isinstance(fields.get("gap"), dict):
        messages.append(GapMessage(Gap.parse(fields["gap"])))

    messages += (EventText(text, None) for text in events)
    messages.append(CaughtUp(cursor) if fields.get("up_to_date") is True else Progress(cursor))

    return messages


def _hello(fields: dict[str, Any]) -> Hello:
    heartbeat_ms = _number(fields, "heartbeat_ms")
    served = fields.get("filter")

    return Hello(
        _text(fields, "epoch") or "",
        _number(fields, "last"),
        heartbeat_ms / 1000 if heartbeat_ms else None,
        tuple(map(str, served)) if isinstance(served, list) else None,
    )


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) else None


def _number(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
