"""The adapter of the common kit: JSON lines in, this library's doings out.

Run by the kit: ``vidette-kit run --level full -- python clients/python/kit/adapter.py``.
Limits are quickened by 10 and waits by ``VIDETTE_KIT_WAITS``, and what is said is in full time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

# The library of this checkout is tested, not one that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import vidette
from vidette._clock import Clock
from vidette._options import LARGEST_EVENT_BYTES, SSE_AGAIN_SECONDS

LIMIT_FACTOR = float(os.environ.get("VIDETTE_KIT_LIMITS") or "0.1")
DEDUPE_MARGIN_SECONDS = 10.0

Command = dict[str, Any]


def say(word: str, **fields: Any) -> None:
    """One line for the kit."""
    print(json.dumps({"say": word, **fields}), flush=True)


def say_wait(seconds: float) -> None:
    """A wait begins."""
    say("wait", ms=round(seconds * 1000), why="retry")


class Adapter:
    """Holds one client, and one subscription at a time."""

    def __init__(self) -> None:
        self.publishing: set[asyncio.Task[None]] = set()
        self.begin(os.environ["VIDETTE_KIT_URL"],
                   float(os.environ.get("VIDETTE_KIT_WAITS") or "0.01"))

    def begin(self, url: str, waits: float) -> None:
        """A scenario begins, at this address and with this factor for waits."""
        self.url = url
        self.waits = waits
        self.clock = Clock(LIMIT_FACTOR, waits, say_wait)
        self.tokens = 0
        self.client: vidette.AsyncClient | None = None
        self.reading: Reading | None = None
        say("ready", library="vidette (Python)", version=vidette.__version__, resets=True)

    async def obey(self, command: Command) -> None:
        """Does what one line asks, without waiting for events or receipts."""
        match command.get("do"):
            case "subscribe":
                self.reading = Reading(self._client(command), command, self.waits)
            case "take" if self.reading:
                self.reading.take(command.get("n"))
            case "ack" if self.reading:
                self.reading.ask_ahead()
            case "state":
                self._say_state()
            case "close":
                await self.close()
            case "reset":
                await self.close()
                self.begin(command["url"], command["waits"])
            case "publish":
                task = asyncio.create_task(publish(self._client(command), command))
                self.publishing.add(task)
                task.add_done_callback(self.publishing.discard)
            case unknown:
                say("unsupported", do=unknown)

    async def close(self) -> None:
        """Leaves no socket; the subscription's last state can still be asked for."""
        if self.reading:
            await self.reading.close()
        for task in self.publishing:
            task.cancel()
        if self.client:
            await self.client.aclose()
            self.client = None
        if self.reading is None:
            say("ended")

    def _client(self, command: Command) -> vidette.AsyncClient:
        if self.client is None:
            window_seconds = command.get("window_ms", 110_000) / 1000
            self.client = vidette.AsyncClient(
                self.url, clock=self.clock,
                token=self._next_token if command.get("token") == "counted" else None,
                dedupe_window=window_seconds + DEDUPE_MARGIN_SECONDS,
            )

        return self.client

    def _next_token(self) -> str:
        self.tokens += 1
        say("token", n=self.tokens)
        return f"token-{self.tokens}"

    def _say_state(self) -> None:
        if self.reading is None:
            say("state", state="closed", cursor=None)
            return

        state = self.reading.events.state
        say("state", state=state.phase, transport=state.transport, cursor=state.cursor,
            duplicates=state.duplicates, gaps=state.gaps, reconnects=state.reconnects)


class Reading:
    """One subscription. The next event may have been asked for ahead of the next take."""

    def __init__(self, client: vidette.AsyncClient, command: Command, waits: float) -> None:
        self._policy = command.get("on_gap", "continue")
        self._ahead: asyncio.Task[vidette.Received] | None = None
        self._wanted: asyncio.Queue[int | None] = asyncio.Queue()
        self._ended = False

        # Time with SSE set aside is a wait, and the library measures it on the clock of limits.
        again_ms = command.get("sse_again_ms", SSE_AGAIN_SECONDS * 1000)
        self.events = client.subscribe(
            *command.get("topic", []),
            after=command.get("after"), since=command.get("since"),
            snapshot=command.get("snapshot", False),
            on_gap="fail" if self._policy == "fail" else self._told,
            transport=command.get("transport", "auto"),
            max_event_bytes=command.get("max_event_bytes", LARGEST_EVENT_BYTES),
            sse_again=again_ms / 1000 * waits / LIMIT_FACTOR,
        )
        self._worker = asyncio.create_task(self._work())

    def take(self, count: int | None) -> None:
        """``None`` is until the end."""
        self._wanted.put_nowait(count)

    def ask_ahead(self) -> None:
        """Finishes the last event; the next one is kept for the next take."""
        if self._ahead is None:
            self._ahead = asyncio.ensure_future(anext(self.events))

    async def close(self) -> None:
        """Says that it has ended, once."""
        asked = self._ahead
        await self.events.aclose()
        self._worker.cancel()

        if asked:
            await asyncio.wait([asked])
            if not asked.cancelled():
                asked.exception()
        self._say_ended()

    def _told(self, gap: vidette.Gap) -> Any:
        say("gap", reason=gap.reason, requested=gap.requested, first=gap.first, last=gap.last,
            epoch=gap.epoch)
        return self._policy

    async def _work(self) -> None:
        try:
            while True:
                count = await self._wanted.get()
                while count is None or count > 0:
                    say_event(await self._next())
                    count = None if count is None else count - 1
        except StopAsyncIteration:
            self._say_ended()
        except Exception as error:
            say_error(error)
            self._say_ended()

    async def _next(self) -> vidette.Received:
        if self._ahead is None:
            self._ahead = asyncio.ensure_future(anext(self.events))
        try:
            return await asyncio.shield(self._ahead)
        finally:
            self._ahead = None

    def _say_ended(self) -> None:
        if not self._ended:
            self._ended = True
            say("ended")


def say_event(event: vidette.Received) -> None:
    """An event that the library handed on."""
    fields: dict[str, Any] = {"vid": event.vid, "cursor": event.cursor, "topic": event.topic}

    if event.type is not None:
        fields["type"] = event.type
    if event.id is not None:
        fields["id"] = event.id
    if isinstance(event.data, bytes):
        fields["base64"] = base64.b64encode(event.data).decode()
    else:
        fields["raw"] = event.raw

    say("event", **fields)


def say_error(error: Exception) -> None:
    """A final error of the subscription."""
    match error:
        case vidette.GapError():
            say("error", kind="gap", message=str(error))
        case vidette.StatusError(status=status):
            say("error", kind="status", status=status, message=str(error))
        case vidette.ProtocolError():
            say("error", kind="protocol", message=str(error))
        case vidette.EventTooLargeError():
            say("error", kind="too_large", message=str(error))
        case _:
            say("error", kind="other", message=repr(error))


async def publish(client: vidette.AsyncClient, command: Command) -> None:
    """Publishes in the mode asked for, and says a receipt for each event."""
    ref = command.get("ref")
    events = [vidette.Event(e["topic"], e.get("data"), e.get("type"), e.get("id"))
              for e in command["events"]]

    if command.get("mode") == "stream":
        async with client.stream() as out:
            tickets = [await out.put(e.topic, e.data, type=e.type, id=e.id) for e in events]
        for index, ticket in enumerate(tickets):
            try:
                say_receipt(ref, index, ticket.result())
            except Exception as error:
                say_failure(ref, index, error)
        return

    try:
        if command.get("mode") == "batch":
            receipts = await client.publish_many(events)
        else:
            receipts = [await client.publish(e.topic, e.data, type=e.type, id=e.id)
                        for e in events]
    except Exception as error:
        for index in range(len(events)):
            say_failure(ref, index, error)
    else:
        for index, receipt in enumerate(receipts):
            say_receipt(ref, index, receipt)


def say_receipt(ref: Any, index: int, receipt: vidette.Receipt) -> None:
    """An event is published."""
    say("receipt", ref=ref, index=index, vid=receipt.vid, cursor=receipt.cursor,
        duplicate=receipt.duplicate)


def say_failure(ref: Any, index: int, error: Exception) -> None:
    """An event is not, or perhaps not."""
    match error:
        case vidette.StatusError(status=status):
            say("receipt", ref=ref, index=index, error="status", status=status)
        case vidette.OutcomeUnknown():
            say("receipt", ref=ref, index=index, error="outcome_unknown")
        case _:
            say("receipt", ref=ref, index=index, error="other", message=repr(error))


async def main() -> None:
    """Obeys line by line until stdin ends."""
    lines = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    adapter = Adapter()

    while line := await lines.readline():
        await adapter.obey(json.loads(line))

    await adapter.close()


if __name__ == "__main__":
    asyncio.run(main())
