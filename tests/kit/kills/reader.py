"""Readers: each writes down what its library hands on, up to the last event."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from adapter import Adapter, Line, Surroundings

FILTER = "kills.>"
LAST_ID = "last"
EVENTS_BEFORE_NEW_SUBSCRIPTION = 500
SECONDS_BEFORE_DEATH = (2.0, 15.0)


@dataclass
class Reader:
    """One way to read. ``habit``: "stays", "subscribes again" or "dies"."""

    name: str
    transport: str
    habit: str
    handed: list[Line] = field(default_factory=list)
    gaps: list[Line] = field(default_factory=list)
    error: Any = None
    reconnects: int = 0
    deaths: int = 0
    is_done: bool = False

    async def run(self, surroundings: Surroundings) -> None:
        """One process after the other, each from the cursor behind what was handed on."""
        while not self.is_done and self.error is None:
            adapter = await Adapter.start(surroundings)
            dying = asyncio.create_task(self._die(adapter)) if self.habit == "dies" else None
            try:
                await self._follow(adapter)
            finally:
                if dying:
                    dying.cancel()
                adapter.kill()
                await adapter.ended()

    async def _die(self, adapter: Adapter) -> None:
        await asyncio.sleep(random.uniform(*SECONDS_BEFORE_DEATH))
        adapter.kill()
        self.deaths += 1

    async def _follow(self, adapter: Adapter) -> None:
        self._subscribe(adapter)

        while (line := await adapter.line()) is not None:
            match line["say"]:
                case "event":
                    self._hand_on(line, adapter)
                    if self.is_done:
                        return
                case "gap":
                    self.gaps.append(line)
                case "wait":
                    self.reconnects += 1
                case "error":
                    self.error = line
                    return
                case "ended":
                    self._subscribe(adapter)

        if self.habit != "dies":
            self.error = "the adapter ended"

    def _subscribe(self, adapter: Adapter) -> None:
        cursor = self.handed[-1]["cursor"] if self.handed else "earliest"
        adapter.tell("subscribe", topic=[FILTER], after=cursor, transport=self.transport)
        adapter.tell("take")

    def _hand_on(self, event: Line, adapter: Adapter) -> None:
        self.handed.append(event)
        self.is_done = event.get("id") == LAST_ID
        is_turn = len(self.handed) % EVENTS_BEFORE_NEW_SUBSCRIPTION == 0

        # Events that are said before it has ended count: they were handed on.
        if self.habit == "subscribes again" and is_turn:
            adapter.tell("close")


def readers() -> list[Reader]:
    """All ways."""
    return [
        Reader("stays, SSE", "sse", "stays"),
        Reader("stays, SSE or long-poll", "auto", "stays"),
        Reader("stays, long-poll", "poll", "stays"),
        Reader("subscribes again", "auto", "subscribes again"),
        Reader("is killed", "auto", "dies"),
    ]
