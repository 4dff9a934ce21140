"""What a core asks of its driver, one step at a time. A driver has no rules of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .models import Gap, Received

__all__ = [
    "AskToken", "Deliver", "Get", "Post", "Read", "ReaderStep", "SenderStep", "Settled", "Sleep",
    "Stop", "Tell",
]


@dataclass(frozen=True)
class Get:
    """Close what is open, and ask for this. Answer with ``head``, ``refused`` or ``failed``."""

    path: str
    parameters: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    limit_seconds: float
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Read:
    """Read some bytes. Answer with ``received``, ``ended``, ``failed`` or ``silent``."""

    limit_seconds: float


@dataclass(frozen=True)
class Sleep:
    """Wait, with nothing open. Answer with ``slept``."""

    seconds: float


@dataclass(frozen=True)
class AskToken:
    """Get a token that is not ``refused``. Answer with ``token_given``."""

    refused: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Deliver:
    """Hand this event to the application. It is unfinished until ``finish``."""

    event: Received


@dataclass(frozen=True)
class Tell:
    """Tell the application of a gap. Answer with ``gap_told``."""

    gap: Gap


@dataclass(frozen=True)
class Stop:
    """The end, with an error unless it was asked for."""

    error: Exception | None


@dataclass(frozen=True)
class Post:
    """Publish this body. Answer with ``answered`` pieces, then ``finished``, or ``failed``."""

    body: bytes
    content_type: str
    limit_seconds: float
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Settled:
    """Nothing is left to do: each event has its receipt or its error."""


ReaderStep = Get | Read | Sleep | AskToken | Deliver | Tell | Stop
SenderStep = Post | Sleep | AskToken | Settled
