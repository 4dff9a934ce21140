"""Cursors: ``VID`` or ``VID-EPOCH``."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Position", "position_of"]

_FORM = re.compile(r"(\d{1,16})(?:-([a-z0-9]{1,32}))?")


class Position(NamedTuple):
    """A cursor's vid and its epoch, if it names one."""

    vid: int
    epoch: str | None


def position_of(cursor: str) -> Position | None:
    """``None`` if the text is no cursor.

    >>> position_of("1042-k3x9q2")
    Position(vid=1042, epoch='k3x9q2')
    """
    match = _FORM.fullmatch(cursor)
    return Position(int(match[1]), match[2]) if match else None
