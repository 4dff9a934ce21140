"""Which transport to ask by: SSE, or long-poll where SSE does not come through (rule 8)."""

from __future__ import annotations

from typing import Literal

from ._clock import Clock
from .models import TransportChoice

__all__ = ["Transport", "TransportPolicy"]

Transport = Literal["sse", "poll"]

_SHORT_SECONDS = 1.0
_SHORT_ENDS = 3
_BAD_ANSWERS = 2


class TransportPolicy:
    """Learns from how requests end."""

    def __init__(self, clock: Clock, choice: TransportChoice, sse_again_seconds: float) -> None:
        self._clock = clock
        self._fixed = choice != "auto"
        self._sse_again_seconds = sse_again_seconds
        self._short_ends = 0
        self._bad_answers = 0
        self._on_trial = False
        self._polling_since = 0.0
        self.current: Transport = "poll" if choice == "poll" else "sse"

    def next(self) -> Transport:
        """The transport of the next request."""
        polled_seconds = self._clock.now() - self._polling_since

        if self.current == "poll" and not self._fixed and polled_seconds >= self._sse_again_seconds:
            self._use("sse")

        return self.current

    def nothing_came(self) -> None:
        """Headers of a stream, and then no byte: a proxy holds it back."""
        self._use("poll")

    def stream_ended(self, lasted_seconds: float, orderly: bool) -> None:
        """A stream that was opened has ended."""
        if lasted_seconds > _SHORT_SECONDS:
            self._short_ends = 0
        elif not orderly:
            self._short_ends += 1

        if self._short_ends >= _SHORT_ENDS:
            self._use("poll")

    def bad_answer(self) -> None:
        """A proxy answered: 502, 504, or a page that is not of the gateway."""
        if self.current == "sse":
            self._bad_answers += 1
            if self._bad_answers >= _BAD_ANSWERS:
                self._use("poll")
                self._on_trial = not self._fixed
        else:
            self.poll_failed()

    def poll_failed(self) -> None:
        """Long-poll on trial does not help either: the next try is SSE, the one after is not."""
        if self._on_trial:
            self._use("sse")
            self._bad_answers = _BAD_ANSWERS - 1

    def good(self) -> None:
        """The gateway itself has answered."""
        self._on_trial = False
        self._bad_answers = 0

    def _use(self, transport: Transport) -> None:
        if self._fixed:
            return

        self.current = transport
        self._short_ends = self._bad_answers = 0
        self._on_trial = False
        self._polling_since = self._clock.now()
