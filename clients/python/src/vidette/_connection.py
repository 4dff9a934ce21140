"""One request of a subscription, from its sending to its end."""

from __future__ import annotations

from ._sse import BlockParser
from ._transport import Transport

__all__ = ["Connection"]

HELLO_SECONDS = 10.0
FIRST_BYTE_SECONDS = 5.0
DEFAULT_HEARTBEAT_SECONDS = 15.0
SILENT_HEARTBEATS = 2.5


class Connection:
    """What is known of the request under way."""

    def __init__(self, transport: Transport, now: float, limit: float, max_bytes: int) -> None:
        self.transport = transport
        self.asked_at = now
        self.limit_seconds = limit
        self.head_at: float | None = None
        self.any_byte = False
        self.heartbeat_seconds: float | None = None
        self.closing = False
        self.retry_ms: int | None = None
        self.body = bytearray()
        self.parser = BlockParser(max_bytes)

    def seconds_open(self, now: float) -> float:
        """How long ago the head of the answer came; 0 if it has not."""
        return 0.0 if self.head_at is None else now - self.head_at

    def read_limit(self, now: float) -> float:
        """How long the next byte may take."""
        if self.transport == "poll":
            return self.asked_at + self.limit_seconds - now

        if self.heartbeat_seconds is not None:
            return SILENT_HEARTBEATS * self.heartbeat_seconds

        left = self.asked_at + HELLO_SECONDS - now
        if self.any_byte or self.head_at is None:
            return left

        return min(left, self.head_at + FIRST_BYTE_SECONDS - now)
