"""What a subscription is asked to do, checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .models import OnGap, TransportChoice

__all__ = ["ReadOptions", "read_options"]

LARGEST_EVENT_BYTES = 3 * 1024 * 1024
SSE_AGAIN_SECONDS = 600.0


@dataclass(frozen=True)
class ReadOptions:
    """The options of ``subscribe``."""

    topics: tuple[str, ...]
    after: str | None
    since: str | None
    snapshot: bool
    on_gap: OnGap
    transport: TransportChoice
    max_elapsed: float | None
    max_event_bytes: int
    sse_again: float

    @property
    def max_line_bytes(self) -> int:
        """The longest event on the wire: its data as base64, and its other fields."""
        return -(-self.max_event_bytes // 3) * 4 + 4096


def read_options(
    topics: Sequence[str], after: str | None, since: str | None, snapshot: bool, on_gap: OnGap,
    transport: TransportChoice, max_elapsed: float | None, max_event_bytes: int, sse_again: float,
) -> ReadOptions:
    """Raises ``ValueError`` for what can never work."""
    if sum((after is not None, since is not None, snapshot)) > 1:
        raise ValueError("only one of after, since and snapshot says where a subscription starts")
    if on_gap not in ("continue", "fail", "snapshot"):
        raise ValueError(f"on_gap is continue, fail, snapshot or a function, not {on_gap!r}")
    if transport not in ("auto", "sse", "poll"):
        raise ValueError(f"transport is auto, sse or poll, not {transport!r}")

    return ReadOptions(
        tuple(topics), after, since, snapshot, on_gap, transport, max_elapsed, max_event_bytes,
        sse_again,
    )
