"""From messages to events, gaps and positions, in the order of the wire."""

from __future__ import annotations

import logging
from collections import deque

from . import _messages as wire
from ._bookmark import Bookmark
from ._connection import DEFAULT_HEARTBEAT_SECONDS, Connection
from ._cursor import position_of
from ._sse import Block
from .models import Gap, Phase, Received

__all__ = ["Intake"]


class Intake:
    """What has come and is not handed on yet. It is filled only while it is empty (rule 9)."""

    def __init__(self, bookmark: Bookmark, log: logging.Logger) -> None:
        self._bookmark = bookmark
        self._log = log
        self.inbox: deque[Block | wire.Message] = deque()
        self.gap: Gap | None = None
        self.epoch: str | None = None
        self.phase: Phase = "connecting"
        self.lag: int | None = None
        self.gaps = 0
        self.duplicates = 0

    def next_event(self, connection: Connection | None) -> Received | None:
        """Takes one entry. Raises ``ProtocolError`` or ``JsonError`` for what breaks the contract.

        ``connection`` is the open stream; a poll's answer is worked on after its connection.
        """
        entry = self.inbox.popleft()

        if not isinstance(entry, Block):
            return self._take(entry, connection)

        if entry.retry_ms is not None and connection:
            connection.retry_ms = entry.retry_ms
        self.inbox.extendleft(reversed(list(wire.messages_of_block(entry))))

        return None

    def take_gap(self, gap: Gap) -> None:
        """To be handed on before anything that follows."""
        self.gaps += 1
        self.gap = gap
        self.epoch = gap.epoch or self.epoch
        self._bookmark.gap(gap)

    def _take(self, message: wire.Message, connection: Connection | None) -> Received | None:
        match message:
            case wire.EventText():
                return self._take_event(message)
            case wire.Progress(cursor):
                self._bookmark.progress(cursor)
            case wire.CaughtUp(cursor):
                if cursor is not None:
                    self._bookmark.progress(cursor)
                self.phase = "live"
            case wire.GapMessage(gap):
                self.take_gap(gap)
            case wire.Hello():
                self._take_hello(message, connection)
            case wire.Closing(reason, retry_ms):
                self._log.info("the gateway ends the stream: %s", reason)
                if connection:
                    connection.closing = True
                    connection.retry_ms = retry_ms or connection.retry_ms

        return None

    def _take_hello(self, hello: wire.Hello, connection: Connection | None) -> None:
        self.epoch = hello.epoch or None
        self.phase = "catching-up"

        if hello.served is not None:
            self._log.warning("the rights of this caller cut the filter down to %s", hello.served)
        if connection:
            connection.heartbeat_seconds = hello.heartbeat_seconds or DEFAULT_HEARTBEAT_SECONDS
        if hello.last is None:
            return

        if connection and self._bookmark.from_latest and hello.epoch:
            self._bookmark.progress(f"{hello.last}-{hello.epoch}")
        position = position_of(self._bookmark.cursor or "")
        self.lag = max(0, hello.last - position.vid) if position else None

    def _take_event(self, message: wire.EventText) -> Received | None:
        event = Received.parse(message.text, message.cursor, self.epoch)

        if not self._bookmark.is_new(event, self.epoch):
            self.duplicates += 1
            return None

        self._bookmark.hand_on(event)
        return event
