"""The client with async: subscribe and publish."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any
from weakref import WeakSet

import anyio
import httpx

from ._async import AsyncGapHandler, AsyncSubscription, AsyncTokens
from ._clock import Clock
from ._http import ERROR_BODY_BYTES, NETWORK_ERRORS, error_headers, post_request
from ._http import split_on_gap, time_text
from ._options import LARGEST_EVENT_BYTES, SSE_AGAIN_SECONDS, read_options
from ._outbox import Outbox, Ticket, results
from ._steps import AskToken, Post, Settled, Sleep
from ._token import AsyncToken
from .models import Event, OnGap, Receipt, TransportChoice

__all__ = ["AsyncClient", "AsyncPublishStream"]

DEDUPE_MARGIN_SECONDS = 10.0


class AsyncClient:
    """A gateway, for programs with async.

    ``token`` is a value or a function (plain or async) that is asked for one: before the first
    request, after a 401, and when a JWT is about to expire. ``http`` is an ``httpx.AsyncClient`` of
    your own, for certificates and proxies; it is not closed here. ``dedupe_window`` is the
    gateway's, in seconds.

    >>> async with AsyncClient("http://127.0.0.1:8080") as bus:             # doctest: +SKIP
    ...     await bus.publish("door.3", {"no": 3}, type="opened")
    Receipt(vid=1, cursor='1-k3x9q2', duplicate=False)
    """

    def __init__(
        self, url: str, *, token: AsyncToken = None, http: httpx.AsyncClient | None = None,
        dedupe_window: float = 120.0, logger: logging.Logger | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock or Clock()
        self._log = logger or logging.getLogger("vidette")
        self._tokens = AsyncTokens(self._clock, token)
        self._given_http = http
        self._own_http: httpx.AsyncClient | None = None
        self._tls: ssl.SSLContext | None = None
        self._subscriptions: WeakSet[AsyncSubscription] = WeakSet()
        self._window = dedupe_window - DEDUPE_MARGIN_SECONDS

    def subscribe(
        self, *topics: str, after: str | None = None, since: str | datetime | None = None,
        snapshot: bool = False, on_gap: OnGap | AsyncGapHandler = "continue",
        transport: TransportChoice = "auto", max_elapsed: float | None = None,
        max_event_bytes: int = LARGEST_EVENT_BYTES, sse_again: float = SSE_AGAIN_SECONDS,
    ) -> AsyncSubscription:
        """Reads events. Nothing runs before the first is asked for.

        ``topics`` are exact or have wildcards; none is all. At most one of ``after`` (a cursor,
        ``earliest`` or ``latest``), ``since`` (a time, or a duration as ``15m``) and ``snapshot``
        says where it starts; the default is ``latest``.

        ``on_gap`` says what to do when events that were not read are gone: ``continue`` (a warning
        is logged), ``fail`` (raises ``GapError``), ``snapshot`` (read the newest event of each
        topic, then go on), or a function that gets the ``Gap`` and may return one of these.

        It is tried for ever, unless ``max_elapsed`` seconds pass without a good connection.

        >>> async with bus.subscribe("door.*", after=saved) as events:      # doctest: +SKIP
        ...     async for event in events:
        ...         print(event.vid, event.topic, event.json)
        """
        policy, handler = split_on_gap(on_gap)
        options = read_options(
            topics, after, time_text(since), snapshot, policy, transport, max_elapsed,
            max_event_bytes, sse_again,
        )

        subscription = AsyncSubscription(
            self._new_http, self._given_http is None, self._url, options, handler, self._tokens,
            self._clock, self._log,
        )
        self._subscriptions.add(subscription)

        return subscription

    async def publish(
        self, topic: str, data: Any = None, *, type: str | None = None, id: str | None = None,
        content_type: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Publishes one event, and returns when it is durable.

        ``data`` is a JSON value, text, or bytes. Raises ``StatusError`` if it is refused, and
        ``OutcomeUnknown`` if no try was answered for as long as ids are remembered.
        """
        event = Event(topic, data, type, id, content_type, headers)
        return (await self._publish("one", [event]))[0]

    async def publish_many(self, events: Iterable[Event]) -> list[Receipt]:
        """Publishes one atomic batch: all of it, with no other event between, or nothing."""
        return await self._publish("batch", events)

    def stream(self) -> AsyncPublishStream:
        """Publishes many events in order, many to a request.

        >>> async with bus.stream() as out:                                 # doctest: +SKIP
        ...     for row in rows:
        ...         await out.put("door.3", row)
        """
        return AsyncPublishStream(self, Outbox(self._clock, "lines", self._window, self._renewable))

    async def aclose(self) -> None:
        """Closes the subscriptions and connections of this client. May be called again."""
        for subscription in list(self._subscriptions):
            await subscription.aclose()

        http, self._own_http = self._own_http, None
        if http is not None and http is not self._given_http:
            await http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    @property
    def _http(self) -> httpx.AsyncClient:
        if self._own_http is None:
            self._own_http = self._new_http()

        return self._own_http

    def _new_http(self) -> httpx.AsyncClient:
        """A pool of its own for each subscription, so that its end leaves no socket."""
        if self._given_http is not None:
            return self._given_http
        if self._tls is None:
            self._tls = httpx.create_ssl_context()

        return httpx.AsyncClient(verify=self._tls)

    @property
    def _renewable(self) -> bool:
        return self._tokens.renewable

    async def _publish(self, form: Any, events: Iterable[Event]) -> list[Receipt]:
        outbox = Outbox(self._clock, form, self._window, self._renewable)
        tickets = [outbox.put(event) for event in events]

        while not await self._work(outbox):
            pass

        return results(tickets)

    async def _work(self, outbox: Outbox) -> bool:
        """Does one step; true when nothing is left to do."""
        match outbox.step():
            case Settled():
                return True
            case Sleep(seconds):
                await anyio.sleep(self._clock.real_wait(seconds))
                outbox.slept()
            case AskToken(refused):
                outbox.token_given(await self._tokens.get(refused))
            case Post() as post:
                await self._post(outbox, post)

        return False

    async def _post(self, outbox: Outbox, post: Post) -> None:
        request = post_request(self._http, self._url, post, self._clock)

        try:
            response = await self._http.send(request, stream=True)
            try:
                await self._take_answer(outbox, response)
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()
        except NETWORK_ERRORS as error:
            outbox.failed(error)

    async def _take_answer(self, outbox: Outbox, response: httpx.Response) -> None:
        if response.status_code == 200:
            async for chunk in response.aiter_bytes():
                outbox.received(chunk)
            outbox.finished()
            return

        body = b""
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > ERROR_BODY_BYTES:
                break
        outbox.refused(response.status_code, error_headers(response), body)


class AsyncPublishStream:
    """Events that are published in order. Leaving the ``async with`` block sends what is left.

    Many tasks may ``send`` at the same time: what waits goes out together in the next request.
    """

    def __init__(self, client: AsyncClient, outbox: Outbox) -> None:
        self._client = client
        self._outbox = outbox
        self._lock = anyio.Lock()

    async def put(
        self, topic: str, data: Any = None, *, type: str | None = None, id: str | None = None,
        content_type: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> Ticket:
        """Adds an event, to be sent with others. Its ``result()`` is there after ``flush()``.

        Sends first if much is waiting already, so memory stays bounded.
        """
        async with self._lock:
            while self._outbox.full and not await self._client._work(self._outbox):
                pass

            return self._outbox.put(Event(topic, data, type, id, content_type, headers))

    async def send(
        self, topic: str, data: Any = None, *, type: str | None = None, id: str | None = None,
        content_type: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Adds an event, sends all that is waiting, and returns its receipt."""
        ticket = await self.put(topic, data, type=type, id=id, content_type=content_type,
                                headers=headers)
        await self._send_until(ticket)
        return ticket.result()

    async def flush(self) -> None:
        """Sends all that is waiting. Errors of single events are reported by their ``result()``."""
        await self._send_until(None)

    async def __aenter__(self) -> AsyncPublishStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.flush()

    async def _send_until(self, ticket: Ticket | None) -> None:
        async with self._lock:
            while not (ticket and ticket.done) and not await self._client._work(self._outbox):
                pass
