"""Time, chance and waiting, in one place, so that tests can have their own.

Two kinds of time can be quickened apart: *limits* (time-outs, measured times) and *waits* (the
sleeps before a new try). The core thinks in full seconds; only drivers ask for real ones.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """The system's clock; ``limit_factor`` and ``wait_factor`` below 1 make a test fast."""

    def __init__(
        self, limit_factor: float = 1.0, wait_factor: float = 1.0,
        on_wait: Callable[[float], None] | None = None,
    ) -> None:
        self._limit_factor = limit_factor
        self._wait_factor = wait_factor
        self._on_wait = on_wait

    def now(self) -> float:
        """Seconds since some moment; never falls."""
        return time.monotonic() / self._limit_factor

    def wall(self) -> float:
        """Seconds since 1970, as a token's ``exp`` counts them."""
        return time.time()

    def random(self) -> float:
        """A number from 0 to 1."""
        return random.random()

    def real_limit(self, seconds: float) -> float:
        """How long a time-out of so many seconds really is."""
        return max(0.0, seconds) * self._limit_factor

    def real_wait(self, seconds: float) -> float:
        """How long a wait of so many seconds really is; it begins now."""
        if self._on_wait is not None:
            self._on_wait(seconds)

        return max(0.0, seconds) * self._wait_factor
