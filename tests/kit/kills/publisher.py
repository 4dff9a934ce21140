"""The publisher: events with known ids, by the library, and what it was answered."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from adapter import Adapter, Line, Surroundings
from reader import LAST_ID

TURN_SECONDS = 0.1
MOST_UNANSWERED_EVENTS = 500


class Publisher:
    """Publishes at an even rate, by one, batch and stream in turn."""

    def __init__(self, modes: list[str], rate: int) -> None:
        self.receipts: dict[str, Line] = {}
        self.sent: list[str] = []
        self.calls: list[list[str]] = []
        self._modes = modes
        self._rate = rate
        self._answered = asyncio.Event()

    async def start(self, surroundings: Surroundings) -> None:
        """Begins to listen for receipts."""
        self._adapter = await Adapter.start(surroundings)
        self._listening = asyncio.create_task(self._listen())

    async def run(self, seconds: float) -> None:
        """Until the time is over."""
        ends_at = time.monotonic() + seconds
        turns = 0

        while time.monotonic() < ends_at:
            self._publish_some(max(1, round(self._rate * TURN_SECONDS)), turns)
            turns += 1
            await asyncio.sleep(TURN_SECONDS)
            await self._until_unanswered(MOST_UNANSWERED_EVENTS)

    async def finish(self) -> None:
        """Waits for every receipt, and publishes the last event then."""
        await self._until_unanswered(0)
        self._call("one", [{"id": LAST_ID, "topic": "kills.last", "data": "last"}])
        await self._until_unanswered(0)

    async def stop(self) -> None:
        """Ends the adapter."""
        self._adapter.kill()
        await self._adapter.ended()
        self._listening.cancel()

    def unanswered(self) -> int:
        """Events without a receipt."""
        return len(self.sent) - len(self.receipts)

    def _publish_some(self, count: int, turn: int) -> None:
        mode = self._modes[turn % len(self._modes)]
        events: list[Line] = []
        for number in range(len(self.sent), len(self.sent) + count):
            # Every tenth is for nobody here, so that readers also see a position without an event.
            topic = "noise.1" if number % 10 == 9 else f"kills.{number % 3}"
            events.append({"id": f"e{number}", "topic": topic, "data": {"no": number}})

        if mode == "one":
            for event in events:
                self._call(mode, [event])
        else:
            self._call(mode, events)

    def _call(self, mode: str, events: list[Line]) -> None:
        ids = [event["id"] for event in events]
        self._adapter.tell("publish", ref=str(len(self.calls)), mode=mode, events=events)
        self.calls.append(ids)
        self.sent += ids

    async def _until_unanswered(self, most: int) -> None:
        while self.unanswered() > most:
            self._answered.clear()
            await self._answered.wait()

    async def _listen(self) -> None:
        while (line := await self._adapter.line()) is not None:
            if line["say"] == "receipt":
                event_id = self.calls[int(line["ref"])][line["index"]]
                assert event_id not in self.receipts, f"two receipts for {event_id}"
                self.receipts[event_id] = line
                self._answered.set()


def failed(receipt: dict[str, Any]) -> bool:
    """Is it an error?"""
    return "error" in receipt
