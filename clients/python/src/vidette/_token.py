"""The caller's token: a value, or a function that is asked for one (rule 13)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable

from ._clock import Clock
from ._json import object_of

__all__ = ["AsyncToken", "Token", "TokenCache", "expires_at"]

Token = str | Callable[[], str] | None
AsyncToken = str | Callable[[], str | Awaitable[str]] | None

_RENEW_BEFORE_SECONDS = 30.0


class TokenCache:
    """Knows the newest token and when a new one is due. Drivers call the function and lock."""

    def __init__(self, clock: Clock, fixed: str | None, renewable: bool) -> None:
        self._clock = clock
        self.current = fixed
        self.renewable = renewable

    def due(self, refused: str | None) -> bool:
        """True if the function has to be asked; ``refused`` is the token that got a 401."""
        if not self.renewable:
            return False
        if self.current is None or self.current == refused:
            return True

        expires = expires_at(self.current)
        return expires is not None and expires - self._clock.wall() < _RENEW_BEFORE_SECONDS


def expires_at(token: str) -> float | None:
    """The ``exp`` of a JWT; ``None`` for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None

    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except (binascii.Error, ValueError):
        return None

    expires = object_of(claims).get("exp")
    return float(expires) if isinstance(expires, (int, float)) else None
