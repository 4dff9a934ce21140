"""Server-sent events: bytes in, blocks out.

Lines end with CR, LF or CRLF, and bytes may be split anywhere. A block without data is handed on too:
its id moves the cursor. Nothing is kept beyond ``max_bytes`` of one event.
"""

from __future__ import annotations

from typing import NamedTuple

from .errors import EventTooLargeError

__all__ = ["Block", "BlockParser"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Block(NamedTuple):
    """What stood before an empty line. ``data`` is ``None`` if there was no data line."""

    id: str | None
    event: str
    data: str | None
    retry_ms: int | None


class BlockParser:
    """Takes the bytes of one stream."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._after_carriage_return = False
        self._first_line = True
        self._id: str | None = None
        self._event = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._retry_ms: int | None = None

    def feed(self, data: bytes) -> list[Block]:
        """The blocks that these bytes complete. Raises ``EventTooLargeError``."""
        blocks: list[Block] = []

        for line in self._lines(data):
            if line:
                self._field(line)
            elif (block := self._block()) is not None:
                blocks.append(block)

        return blocks

    def _lines(self, data: bytes) -> list[bytes]:
        if self._after_carriage_return and data:
            data = data[1:] if data.startswith(b"\n") else data
            self._after_carriage_return = False

        if b"\r" in data:
            self._after_carriage_return = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

        *complete, rest = data.split(b"\n")
        if complete:
            complete[0] = bytes(self._line) + complete[0]
            self._line.clear()

        self._line += rest
        self._bounded(max(map(len, complete), default=0))
        self._bounded(len(self._line))

        if complete and self._first_line:
            complete[0] = complete[0].removeprefix(_BYTE_ORDER_MARK)
            self._first_line = False

        return complete

    def _bounded(self, size: int) -> None:
        if size > self._max_bytes:
            raise EventTooLargeError(f"an event has more than {self._max_bytes} bytes")

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")

        if name == b"data":
            self._data_bytes += len(value) + 1
            self._bounded(self._data_bytes)
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 16:
            self._retry_ms = int(value)

    def _block(self) -> Block | None:
        data = b"\n".join(self._data).decode("utf-8", "replace") if self._data else None
        block = Block(self._id, self._event, data, self._retry_ms)
        self._clear()

        return None if block == (None, "", None, None) else block

    def _clear(self) -> None:
        self._id = None
        self._event = ""
        self._data = []
        self._data_bytes = 0
        self._retry_ms = None
