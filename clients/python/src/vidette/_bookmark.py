"""The position of a subscription (rules 1 to 3): where it resumes, and what came already."""

from __future__ import annotations

from ._cursor import Position, position_of
from ._options import ReadOptions
from .errors import ProtocolError
from .models import Gap, Received

__all__ = ["Bookmark"]

_STARTS = ("earliest", "latest", "0")


class Bookmark:
    """Moves when the application has finished with an event, never before."""

    def __init__(self, options: ReadOptions) -> None:
        after = options.after
        self._start = options
        self._snapshot = options.snapshot
        self._handed_on: Position | None = None
        self._unfinished: str | None = None
        self._seen: Position | None = None
        self.cursor = after if after is not None and after not in _STARTS else None

    @property
    def from_latest(self) -> bool:
        """True while only what comes from now on is wanted, and "now" has no cursor yet."""
        start = self._start
        wanted = start.after in (None, "latest") and start.since is None and not self._snapshot

        return wanted and self.cursor is None

    def parameters(self) -> list[tuple[str, str]]:
        """Where the next request begins: the start only until a cursor is known."""
        if self.cursor is not None:
            return [("after", self.cursor)]
        if self._snapshot:
            return [("snapshot", "true")]
        if self._start.since is not None:
            return [("since", self._start.since)]

        return [("after", self._start.after or "latest")]

    def finish(self) -> None:
        """The application is done with the event it has."""
        if self._unfinished is not None:
            self._move(self._unfinished)
            self._unfinished = None

    def progress(self, cursor: str) -> None:
        """Everything up to here is seen, and nothing of it is unfinished."""
        position = position_of(cursor)
        seen = self._seen

        if position is None:
            raise ProtocolError(f"{cursor!r} is no cursor")
        if seen is not None and seen.epoch == position.epoch and position.vid < seen.vid:
            return

        self._move(cursor)

    def is_new(self, event: Received, epoch: str | None) -> bool:
        """False for what was handed on before. Raises ``ProtocolError`` for another log's event."""
        position = position_of(event.cursor)
        if position is None:
            raise ProtocolError(f"{event.cursor!r} is no cursor")
        if epoch and position.epoch and position.epoch != epoch:
            raise ProtocolError(f"event {event.cursor} is of another log than hello's, {epoch}")

        before = self._handed_on
        if before is None or position.vid > before.vid:
            return True
        if before.epoch and position.epoch and before.epoch != position.epoch:
            raise ProtocolError(f"event {event.cursor} is of another log, and no gap was reported")

        return False

    def hand_on(self, event: Received) -> None:
        """The application has this event now."""
        self._handed_on = position_of(event.cursor)
        self._unfinished = event.cursor

    def gap(self, gap: Gap) -> None:
        """What follows may be of another log, or lower."""
        before = self._handed_on
        self._seen = None

        if gap.reason == "reset" or (before and before.epoch and gap.epoch != before.epoch):
            self._handed_on = None

    def restart_with_snapshot(self) -> None:
        """Forget the cursor: it cannot be served."""
        self.cursor = None
        self._snapshot = True

    def _move(self, cursor: str) -> None:
        self.cursor = cursor
        self._seen = position_of(cursor)
