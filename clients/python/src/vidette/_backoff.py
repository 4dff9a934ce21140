"""How long to wait before a new try (rule 6)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

from ._clock import Clock

__all__ = ["Backoff", "retry_after_seconds"]

_RETRY_AFTER_MAX_SECONDS = 300.0
_DOUBLINGS_MAX = 32


class Backoff:
    """Full jitter: a random time between 0 and a bound that doubles with each failure."""

    def __init__(self, clock: Clock, base_seconds: float = 0.5, max_seconds: float = 20.0) -> None:
        self._clock = clock
        self._base_seconds = base_seconds
        self._max_seconds = max_seconds
        self._failures = 0

    def reset(self) -> None:
        """The connection was good."""
        self._failures = 0

    def after_failure(self, floor_seconds: float = 0.0) -> float:
        """The wait after one more failure, ``floor_seconds`` at least."""
        bound = min(self._max_seconds, self._base_seconds * 2.0 ** self._failures)
        self._failures = min(self._failures + 1, _DOUBLINGS_MAX)

        return max(floor_seconds, self._clock.random() * bound)

    def after_orderly_end(self, asked_ms: int | None) -> float:
        """The wait that the server asked for, give or take a half, so that not all come at once."""
        seconds = self._base_seconds if asked_ms is None else asked_ms / 1000
        seconds = min(seconds, _RETRY_AFTER_MAX_SECONDS)

        return seconds * (0.5 + self._clock.random())


def retry_after_seconds(header: str | None, wall: float) -> float:
    """What a ``Retry-After`` of seconds or a date asks for, at most 5 min; 0 for nonsense."""
    if header is None:
        return 0.0

    header = header.strip()
    if header.isascii() and header.isdigit():
        return min(float(header), _RETRY_AFTER_MAX_SECONDS)

    try:
        seconds = parsedate_to_datetime(header).timestamp() - wall
    except (ValueError, TypeError, OverflowError):
        return 0.0

    return min(max(0.0, seconds), _RETRY_AFTER_MAX_SECONDS)
