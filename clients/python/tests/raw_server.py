"""A server on raw TCP that plays one script for each connection, so that it can cut anywhere."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

HOLD = "hold"
RESET = "reset"
# What has to happen is waited for so long, on a machine that has more to do.
PATIENCE_S = 20

Script = Sequence[bytes | float | str]


def head(media_type: str = "text/event-stream", status: str = "200 OK", *headers: str) -> bytes:
    """The head of an answer that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(*chunks: bytes) -> bytes:
    """Chunks of a body, without its end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


class RawServer:
    """``with RawServer(script, script, …) as server``: the scripts are used in order.

    Where requests come at once, their order is not known: ``answer`` then chooses a script by
    what a request says, once the scripts are used up.
    """

    def __init__(
        self, *scripts: Script, answer: Callable[[str], Script] = lambda _: [HOLD],
    ) -> None:
        self.scripts = list(scripts)
        self.answer = answer
        self.requests: list[str] = []
        self.client_left = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=32)
        self._open: list[socket.socket] = []
        self.url = "http://127.0.0.1:%d" % self._listener.getsockname()[1]

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in (self._listener, *self._open):
            with suppress(OSError):
                connection.close()

    def targets(self) -> list[str]:
        """The targets of the requests."""
        return [request.split(" ")[1] for request in self.requests]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            request = self._request(connection)
            with self._lock:
                self.requests.append(request)
                script = self.scripts.pop(0) if self.scripts else self.answer(request)

            for step in script:
                self._do(connection, step)

    def _do(self, connection: socket.socket, step: bytes | float | str) -> None:
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, float):
            time.sleep(step)
        elif step == RESET:
            now = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
        else:
            while connection.recv(4096):
                pass
            self.client_left.set()

    @staticmethod
    def _request(connection: socket.socket) -> str:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(4096)

        text, _, body = received.partition(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in text.lower().splitlines()
                       if line.startswith(b"content-length:")), 0)
        while len(body) < length:
            body += connection.recv(4096)

        return (text + b"\r\n\r\n" + body).decode()
