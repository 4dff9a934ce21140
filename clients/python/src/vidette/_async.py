"""The driver with async: no task of its own. It waits by anyio, as httpx does."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from types import TracebackType

import anyio
import httpx

from ._clock import Clock
from ._http import ERROR_BODY_BYTES, NETWORK_ERRORS, error_headers, get_request
from ._options import ReadOptions
from ._reader import Reader
from ._steps import AskToken, Deliver, Get, Read, Sleep, Stop, Tell
from ._token import AsyncToken, TokenCache
from .models import Gap, OnGap, Received, State

__all__ = ["AsyncGapHandler", "AsyncSubscription", "AsyncTokens"]

AsyncGapHandler = Callable[[Gap], OnGap | None | Awaitable[OnGap | None]]


class AsyncTokens:
    """Asks the caller's function, one call at a time."""

    def __init__(self, clock: Clock, token: AsyncToken) -> None:
        self._function = token if callable(token) else None
        fixed = None if callable(token) else token
        self._cache = TokenCache(clock, fixed, self._function is not None)
        self._lock = anyio.Lock()

    @property
    def renewable(self) -> bool:
        """True if there is a function to ask."""
        return self._function is not None

    async def get(self, refused: str | None) -> str | None:
        """A token that is not ``refused``, as far as the function has another."""
        async with self._lock:
            if self._function is not None and self._cache.due(refused):
                given = self._function()
                self._cache.current = await given if inspect.isawaitable(given) else given

            return self._cache.current


class AsyncSubscription:
    """Events in order, as an async iterator. It connects when the first is asked for.

    Asking for the next event finishes the one before, and moves ``cursor`` behind it.
    """

    def __init__(
        self, new_http: Callable[[], httpx.AsyncClient], owns_http: bool, url: str,
        options: ReadOptions, on_gap: AsyncGapHandler | None, tokens: AsyncTokens, clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._new_http = new_http
        self._owns_http = owns_http
        self._http: httpx.AsyncClient | None = None
        self._url = url
        self._options = options
        self._on_gap = on_gap
        self._tokens = tokens
        self._clock = clock
        self._log = log
        self._core = Reader(options, clock, log, tokens.renewable)
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._scope: anyio.CancelScope | None = None

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

    async def aclose(self) -> None:
        """Ends the iterator at once, also one that another task is in. May be called again."""
        self._core.close()
        if self._scope is not None:
            self._scope.cancel()
        else:
            await self._clean_up()

    async def __aenter__(self) -> AsyncSubscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Received]:
        return self

    async def __anext__(self) -> Received:
        if self._scope is not None:
            raise RuntimeError("another task is reading from this subscription")

        self._core.finish()
        event: Received | None = None

        with anyio.CancelScope() as self._scope:
            try:
                event = await self._next()
            finally:
                self._scope = None
                if event is None:
                    await self._drop()
                    self._core.interrupted()

        if event is None:
            await self._clean_up()
            raise self._core.take_error() or StopAsyncIteration
        return event

    async def _next(self) -> Received | None:
        """The next event; ``None`` at the end."""
        while True:
            match self._core.step():
                case Deliver(event):
                    return event
                case Stop():
                    return None
                case Get() as get:
                    await self._open(get)
                case Read(limit_seconds):
                    await self._read(limit_seconds)
                case Sleep(seconds):
                    await self._drop()
                    await anyio.sleep(self._clock.real_wait(seconds))
                    self._core.slept()
                case AskToken(refused):
                    self._core.token_given(await self._tokens.get(refused))
                case Tell(gap):
                    self._core.gap_told(await self._told(gap))

    async def _told(self, gap: Gap) -> OnGap:
        if self._on_gap is None:
            self._log.warning("events are missing: %s", gap)
            return self._options.on_gap

        answer = self._on_gap(gap)
        return (await answer if inspect.isawaitable(answer) else answer) or "continue"

    async def _open(self, get: Get) -> None:
        await self._drop()
        if self._http is None:
            self._http = self._new_http()

        request = get_request(self._http, self._url, get, None)
        limit = self._clock.real_limit(get.limit_seconds)

        try:
            with anyio.fail_after(limit):
                response = await self._http.send(request, stream=True, follow_redirects=True)
                self._response = response
                self._chunks = response.aiter_bytes()
                body = b"" if response.status_code == 200 else await self._error_body()
        except (httpx.TimeoutException, TimeoutError):
            self._core.silent()
        except NETWORK_ERRORS as error:
            self._core.failed(error)
        else:
            if response.status_code == 200:
                self._core.head(response.headers.get("content-type", ""))
            else:
                self._core.refused(response.status_code, error_headers(response), body)

    async def _error_body(self) -> bytes:
        body = b""

        with suppress(*NETWORK_ERRORS):
            while self._chunks and len(body) <= ERROR_BODY_BYTES:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    break
                body += chunk

        return body

    async def _read(self, limit_seconds: float) -> None:
        chunk: bytes | None = None

        try:
            with anyio.fail_after(self._clock.real_limit(limit_seconds)):
                if self._chunks is not None:
                    chunk = await anext(self._chunks, None)
        except (httpx.TimeoutException, TimeoutError):
            self._core.silent()
        except NETWORK_ERRORS as error:
            self._core.failed(error)
        else:
            if chunk is None:
                self._core.ended()
            else:
                self._core.received(chunk)

    async def _drop(self) -> None:
        """Closes what is open. A connection whose answer was read to its end stays in the pool."""
        response, self._response = self._response, None
        self._chunks = None

        if response is not None:
            with anyio.CancelScope(shield=True), suppress(*NETWORK_ERRORS, RuntimeError):
                await response.aclose()

    async def _clean_up(self) -> None:
        await self._drop()
        http, self._http = self._http, None

        if http is not None and self._owns_http:
            with anyio.CancelScope(shield=True):
                await http.aclose()
