"""The client without async: subscribe and publish."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any
from weakref import WeakSet

import httpx

from ._clock import Clock
from ._http import ERROR_BODY_BYTES, NETWORK_ERRORS, GapHandler, error_headers, post_request
from ._http import split_on_gap, time_text
from ._options import LARGEST_EVENT_BYTES, SSE_AGAIN_SECONDS, read_options
from ._outbox import Outbox, Ticket, results
from ._steps import AskToken, Post, Settled, Sleep
from ._sync import Subscription, Tokens
from ._token import Token
from .models import Event, OnGap, Receipt, TransportChoice

__all__ = ["Client", "PublishStream"]

DEDUPE_MARGIN_SECONDS = 10.0


class Client:
    """A gateway, for programs without async.

    ``token`` is a value or a function that is asked for one: before the first request, after a
    401, and when a JWT is about to expire. ``http`` is an ``httpx.Client`` of your own, for
    certificates and proxies; it is not closed here. ``dedupe_window`` is the gateway's, in seconds.

    >>> with Client("http://127.0.0.1:8080") as bus:                        # doctest: +SKIP
    ...     bus.publish("door.3", {"no": 3}, type="opened")
    Receipt(vid=1, cursor='1-k3x9q2', duplicate=False)
    """

    def __init__(
        self, url: str, *, token: Token = None, http: httpx.Client | None = None,
        dedupe_window: float = 120.0, logger: logging.Logger | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._clock = clock or Clock()
        self._log = logger or logging.getLogger("vidette")
        self._tokens = Tokens(self._clock, token)
        self._given_http = http
        self._own_http: httpx.Client | None = None
        self._tls: ssl.SSLContext | None = None
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._window = dedupe_window - DEDUPE_MARGIN_SECONDS

    def subscribe(
        self, *topics: str, after: str | None = None, since: str | datetime | None = None,
        snapshot: bool = False, on_gap: OnGap | GapHandler = "continue",
        transport: TransportChoice = "auto", max_elapsed: float | None = None,
        max_event_bytes: int = LARGEST_EVENT_BYTES, sse_again: float = SSE_AGAIN_SECONDS,
    ) -> Subscription:
        """Reads events. Nothing runs before the first is asked for.

        ``topics`` are exact or have wildcards; none is all. At most one of ``after`` (a cursor,
        ``earliest`` or ``latest``), ``since`` (a time, or a duration as ``15m``) and ``snapshot``
        says where it starts; the default is ``latest``.

        ``on_gap`` says what to do when events that were not read are gone: ``continue`` (a warning
        is logged), ``fail`` (raises ``GapError``), ``snapshot`` (read the newest event of each
        topic, then go on), or a function that gets the ``Gap`` and may return one of these.

        It is tried for ever, unless ``max_elapsed`` seconds pass without a good connection.

        >>> with bus.subscribe("door.*", after=saved) as events:            # doctest: +SKIP
        ...     for event in events:
        ...         print(event.vid, event.topic, event.json)
        """
        policy, handler = split_on_gap(on_gap)
        options = read_options(
            topics, after, time_text(since), snapshot, policy, transport, max_elapsed,
            max_event_bytes, sse_again,
        )

        subscription = Subscription(
            self._new_http, self._given_http is None, self._url, options, handler, self._tokens,
            self._clock, self._log,
        )
        self._subscriptions.add(subscription)

        return subscription

    def publish(
        self, topic: str, data: Any = None, *, type: str | None = None, id: str | None = None,
        content_type: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Publishes one event, and returns when it is durable.

        ``data`` is a JSON value, text, or bytes. Raises ``StatusError`` if it is refused, and
        ``OutcomeUnknown`` if no try was answered for as long as ids are remembered.
        """
        return self._publish("one", [Event(topic, data, type, id, content_type, headers)])[0]

    def publish_many(self, events: Iterable[Event]) -> list[Receipt]:
        """Publishes one atomic batch: all of it, with no other event between, or nothing."""
        return self._publish("batch", events)

    def stream(self) -> PublishStream:
        """Publishes many events in order, many to a request.

        >>> with bus.stream() as out:                                       # doctest: +SKIP
        ...     for row in rows:
        ...         out.put("door.3", row)
        """
        return PublishStream(self, Outbox(self._clock, "lines", self._window, self._renewable))

    def close(self) -> None:
        """Closes the subscriptions and connections of this client. May be called again."""
        for subscription in list(self._subscriptions):
            subscription.close()

        http, self._own_http = self._own_http, None
        if http is not None and http is not self._given_http:
            http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _http(self) -> httpx.Client:
        if self._own_http is None:
            self._own_http = self._new_http()

        return self._own_http

    def _new_http(self) -> httpx.Client:
        """A pool of its own for each subscription, so that its end leaves no socket."""
        if self._given_http is not None:
            return self._given_http
        if self._tls is None:
            self._tls = httpx.create_ssl_context()

        return httpx.Client(verify=self._tls)

    @property
    def _renewable(self) -> bool:
        return self._tokens.renewable

    def _publish(self, form: Any, events: Iterable[Event]) -> list[Receipt]:
        outbox = Outbox(self._clock, form, self._window, self._renewable)
        tickets = [outbox.put(event) for event in events]

        while not self._work(outbox):
            pass

        return results(tickets)

    def _work(self, outbox: Outbox) -> bool:
        """Does one step; true when nothing is left to do."""
        match outbox.step():
            case Settled():
                return True
            case Sleep(seconds):
                threading.Event().wait(self._clock.real_wait(seconds))
                outbox.slept()
            case AskToken(refused):
                outbox.token_given(self._tokens.get(refused))
            case Post() as post:
                self._post(outbox, post)

        return False

    def _post(self, outbox: Outbox, post: Post) -> None:
        request = post_request(self._http, self._url, post, self._clock)

        try:
            response = self._http.send(request, stream=True)
            try:
                self._take_answer(outbox, response)
            finally:
                response.close()
        except NETWORK_ERRORS as error:
            outbox.failed(error)

    def _take_answer(self, outbox: Outbox, response: httpx.Response) -> None:
        if response.status_code == 200:
            for chunk in response.iter_bytes():
                outbox.received(chunk)
            outbox.finished()
            return

        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > ERROR_BODY_BYTES:
                break
        outbox.refused(response.status_code, error_headers(response), body)


class PublishStream:
    """Events that are published in order. Leaving the ``with`` block sends what is left."""

    def __init__(self, client: Client, outbox: Outbox) -> None:
        self._client = client
        self._outbox = outbox
        self._lock = threading.Lock()

    def put(
        self, topic: str, data: Any = None, *, type: str | None = None, id: str | None = None,
        content_type: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> Ticket:
        """Adds an event, to be sent with others. Its ``result()`` is there after ``flush()``.

        Sends first if much is waiting already, so memory stays bounded.
        """
        with self._lock:
            while self._outbox.full and not self._client._work(self._outbox):
                pass

            return self._outbox.put(Event(topic, data, type, id, content_type, headers))

    def send(
        self, topic: str, data: Any = None, *, type: str | None = None, id: str | None = None,
        content_type: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Adds an event, sends all that is waiting, and returns its receipt."""
        ticket = self.put(topic, data, type=type, id=id, content_type=content_type,
                          headers=headers)
        self._send_until(ticket)
        return ticket.result()

    def flush(self) -> None:
        """Sends all that is waiting. Errors of single events are reported by their ``result()``."""
        self._send_until(None)

    def __enter__(self) -> PublishStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.flush()

    def _send_until(self, ticket: Ticket | None) -> None:
        with self._lock:
            while not (ticket and ticket.done) and not self._client._work(self._outbox):
                pass
