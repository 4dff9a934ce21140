"""Read and publish events of a vidette push gateway.

A reader only has to resume: store ``event.cursor`` when an event is handled, and give it to
``after=`` next time. Everything between, as lost connections and proxies, is this library's work.

>>> from vidette import Client
>>> with Client("http://127.0.0.1:8080") as bus:                            # doctest: +SKIP
...     with bus.subscribe("door.*", after=load_cursor() or "earliest") as events:
...         for event in events:
...             handle(event)
...             save_cursor(event.cursor)
"""

from ._async import AsyncSubscription
from ._async_client import AsyncClient, AsyncPublishStream
from ._client import Client, PublishStream
from ._outbox import Ticket
from ._sync import Subscription
from ._version import __version__
from .errors import (
    EventTooLargeError,
    GapError,
    GaveUpError,
    OutcomeUnknown,
    ProtocolError,
    StatusError,
    VidetteError,
)
from .models import Event, Gap, Receipt, Received, State

__all__ = [
    "AsyncClient", "AsyncPublishStream", "AsyncSubscription", "Client", "Event",
    "EventTooLargeError", "Gap", "GapError", "GaveUpError", "OutcomeUnknown", "ProtocolError",
    "PublishStream", "Receipt", "Received", "State", "StatusError", "Subscription", "Ticket",
    "VidetteError", "__version__",
]
