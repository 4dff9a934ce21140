"""The driver without async: one thread, the caller's."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

import httpx

from ._clock import Clock
from ._http import ERROR_BODY_BYTES, NETWORK_ERRORS, GapHandler, error_headers, get_request
from ._options import ReadOptions
from ._reader import Reader
from ._steps import AskToken, Deliver, Get, Read, Sleep, Stop, Tell
from ._token import Token, TokenCache
from .models import Gap, OnGap, Received, State

__all__ = ["Subscription", "Tokens"]


class Tokens:
    """Asks the caller's function, one call at a time."""

    def __init__(self, clock: Clock, token: Token) -> None:
        self._function = token if callable(token) else None
        fixed = None if callable(token) else token
        self._cache = TokenCache(clock, fixed, self._function is not None)
        self._lock = threading.Lock()

    @property
    def renewable(self) -> bool:
        """True if there is a function to ask."""
        return self._function is not None

    def get(self, refused: str | None) -> str | None:
        """A token that is not ``refused``, as far as the function has another."""
        with self._lock:
            if self._function is not None and self._cache.due(refused):
                self._cache.current = self._function()

            return self._cache.current


class Subscription:
    """Events in order, as an iterator. It connects when the first is asked for.

    Asking for the next event finishes the one before, and moves ``cursor`` behind it.
    """

    def __init__(
        self, new_http: Callable[[], httpx.Client], owns_http: bool, url: str,
        options: ReadOptions, on_gap: GapHandler | None, tokens: Tokens, clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._new_http = new_http
        self._owns_http = owns_http
        self._http: httpx.Client | None = None
        self._url = url
        self._options = options
        self._on_gap = on_gap
        self._tokens = tokens
        self._clock = clock
        self._log = log
        self._core = Reader(options, clock, log, tokens.renewable)
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._limit: _ReadLimit | None = None
        self._wire: Any = None
        self._in_next = False
        self._wake = threading.Event()

    @property
    def state(self) -> State:
        """A snapshot of how the subscription is doing."""
        return self._core.state

    @property
    def cursor(self) -> str | None:
        """The position to resume from: behind the last event that was finished."""
        return self._core.state.cursor

    def finish(self) -> None:
        """The last event is handled, and no other is wanted yet: as before ``break``."""
        self._core.finish()

    def close(self) -> None:
        """Ends the iterator at once, also from another thread. May be called again."""
        self._core.close()
        self._wake.set()

        if self._in_next:
            self._shut_down()  # wakes the reader, which then cleans up
        else:
            self._clean_up()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Received]:
        return self

    def __next__(self) -> Received:
        self._core.finish()
        self._in_next = True

        try:
            while True:
                step = self._core.step()
                if isinstance(step, Deliver):
                    return step.event
                if isinstance(step, Stop):
                    self._clean_up()
                    raise self._core.take_error() or StopIteration
                self._do(step)
        except BaseException:
            self._drop()
            self._core.interrupted()
            raise
        finally:
            self._in_next = False

    def _do(self, step: Get | Read | Sleep | AskToken | Tell) -> None:
        match step:
            case Get():
                self._open(step)
            case Read(limit_seconds):
                self._read(limit_seconds)
            case Sleep(seconds):
                self._drop()
                self._wake.wait(self._clock.real_wait(seconds))
                self._core.slept()
            case AskToken(refused):
                self._core.token_given(self._tokens.get(refused))
            case Tell(gap):
                self._core.gap_told(self._told(gap))

    def _told(self, gap: Gap) -> OnGap:
        if self._on_gap is None:
            self._log.warning("events are missing: %s", gap)
            return self._options.on_gap

        return self._on_gap(gap) or "continue"

    def _open(self, get: Get) -> None:
        self._drop()
        if self._http is None:
            self._http = self._new_http()

        limit = self._clock.real_limit(get.limit_seconds)
        request = get_request(self._http, self._url, get, limit, self._note_connection)

        try:
            response = self._http.send(request, stream=True, follow_redirects=True)
            self._response = response
            self._chunks = response.iter_bytes()
            self._limit = _ReadLimit(response)
            if response.status_code == 200:
                self._core.head(response.headers.get("content-type", ""))
            else:
                body = self._error_body()
                self._core.refused(response.status_code, error_headers(response), body)
        except httpx.TimeoutException:
            self._core.silent()
        except NETWORK_ERRORS as error:
            self._core.failed(error)

    def _error_body(self) -> bytes:
        body = b""

        with suppress(*NETWORK_ERRORS):
            for chunk in self._chunks:
                body += chunk
                if len(body) > ERROR_BODY_BYTES:
                    break

        return body

    def _read(self, limit_seconds: float) -> None:
        if self._limit is not None:
            self._limit.seconds = max(self._clock.real_limit(limit_seconds), 0.001)

        try:
            chunk = next(self._chunks, None)
        except httpx.TimeoutException:
            self._core.silent()
        except NETWORK_ERRORS as error:
            self._core.failed(error)
        else:
            if chunk is None:
                self._drop()  # the connection goes back to the pool as it was
                self._core.ended()
            else:
                self._core.received(chunk)

    def _drop(self) -> None:
        """Closes what is open. A connection whose answer was read to its end stays in the pool."""
        response, self._response = self._response, None
        limit, self._limit = self._limit, None

        if limit is not None:
            limit.release()
        if response is not None:
            with suppress(*NETWORK_ERRORS, RuntimeError):
                response.close()

    def _clean_up(self) -> None:
        self._drop()
        http, self._http = self._http, None

        if http is not None and self._owns_http:
            http.close()

    def _note_connection(self, name: str, info: dict[str, Any]) -> None:
        """httpx tells of each new connection; ``close`` has to reach it before any answer came."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._wire = info.get("return_value")
            if self._core.state.phase == "closed":
                self._shut_down()

    def _shut_down(self) -> None:
        with suppress(OSError, AttributeError):
            self._wire.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class _ReadLimit:
    """Lets each read of one answer have its own time-out.

    httpx fixes the time-out of reads when a body begins; the heartbeat is known only later.
    """

    seconds = 10.0

    def __init__(self, response: httpx.Response) -> None:
        self._stream: Any = response.extensions.get("network_stream")
        if self._stream is None:
            return

        read = self._stream.read
        self._stream.read = lambda max_bytes, timeout=None: read(max_bytes, self.seconds)

    def release(self) -> None:
        """The connection may serve other requests now."""
        if self._stream is not None:
            self._stream.__dict__.pop("read", None)
