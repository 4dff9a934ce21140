"""The errors that end a subscription or a publish; the library gets over all others by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .models import Gap

__all__ = [
    "EventTooLargeError", "GapError", "GaveUpError", "OutcomeUnknown", "ProtocolError",
    "StatusError", "VidetteError",
]


class VidetteError(Exception):
    """The base of all errors of this library."""


class StatusError(VidetteError):
    """The gateway refused the request, and asking again would not help.

    ``status`` is the HTTP status, ``problem`` the answer's RFC 9457 object (empty if it was none).
    """

    def __init__(self, status: int, problem: Mapping[str, Any] | None = None) -> None:
        self.status = status
        self.problem: Mapping[str, Any] = problem or {}
        detail = self.problem.get("detail") or self.problem.get("title") or "no reason was given"
        super().__init__(f"the gateway answered {status}: {detail}")


class GapError(VidetteError):
    """Events that were not yet read are gone, and the subscription has ``on_gap="fail"``.

    Load the current state again, then subscribe with ``after="earliest"``, ``after="latest"`` or
    ``snapshot=True``. ``gap`` says what is missing.
    """

    def __init__(self, gap: Gap) -> None:
        self.gap = gap
        super().__init__(
            f"the cursor {gap.requested} cannot be served ({gap.reason}); "
            f"the log now has {gap.first} to {gap.last}"
        )


class ProtocolError(VidetteError):
    """The server broke the contract, and did so again after a reconnect."""


class EventTooLargeError(VidetteError):
    """An event is longer than ``max_event_bytes`` allows."""


class GaveUpError(VidetteError):
    """``max_elapsed`` seconds went by without a good connection. The cause is the last error."""


class OutcomeUnknown(VidetteError):
    """Publishing was tried until the gateway may have forgotten the ids: it happened, or not.

    ``ids`` are those of the events. Trying again with the same ids could now publish them twice.
    """

    def __init__(self, ids: Sequence[str], last_reason: str) -> None:
        self.ids = tuple(ids)
        super().__init__(f"it is not known whether the events were published: {last_reason}")
