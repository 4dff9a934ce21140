"""JSON objects of which the text of each member is kept, so that no digit of a number is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

__all__ = ["JsonError", "Member", "elements", "members", "object_of"]


class JsonError(ValueError):
    """The text is not the JSON that was expected."""


class Member(NamedTuple):
    """A parsed value and the text it was parsed from."""

    value: Any
    text: str


def _integer(digits: str) -> int | Decimal:
    """Python refuses to make an ``int`` of more than 4300 digits; such a number is a Decimal."""
    try:
        return int(digits)
    except ValueError:
        return Decimal(digits)


_DECODER = json.JSONDecoder(parse_int=_integer)
_SPACE = re.compile(r"[ \t\n\r]*")


def members(text: str) -> dict[str, Member]:
    """The members of a JSON object by name."""
    found: dict[str, Member] = {}
    at = _expect(text, _skip(text, 0), "{")

    if text[at:at + 1] == "}":
        return found

    while True:
        name, at = _value(text, at)
        if not isinstance(name, str):
            raise JsonError(f"no name before {at}")
        start = _expect(text, _skip(text, at), ":")
        value, end = _value(text, start)
        found[name] = Member(value, text[start:end])
        at = _skip(text, end)

        if text[at:at + 1] == "}":
            return found
        at = _expect(text, at, ",")


def elements(text: str) -> Iterator[str]:
    """The texts of the elements of a JSON array."""
    at = _expect(text, _skip(text, 0), "[")

    while text[at:at + 1] != "]":
        _, end = _value(text, at)
        yield text[at:end]
        at = _skip(text, end)

        if text[at:at + 1] != "]":
            at = _expect(text, at, ",")


def object_of(text: str | bytes) -> dict[str, Any]:
    """A JSON object, parsed; an empty one if the text is anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}

    return value if isinstance(value, dict) else {}


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _expect(text: str, at: int, sign: str) -> int:
    """The place of what follows ``sign`` and white space."""
    if text[at:at + 1] != sign:
        raise JsonError(f"no {sign} at {at}")
    return _skip(text, at + 1)


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise JsonError(f"no value at {at}") from error

