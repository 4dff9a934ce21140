"""Kills a real gateway again and again, and checks that nothing was lost, doubled or out of order.

    python clients/python/kit/kills.py --gateway target/release/vidette --seconds 600

Four readers follow from the start: async over SSE, async over long-poll, one that closes and begins
again from its cursor every 500 events, and one without async in a process of its own. A publisher
sends numbered events by a stream. Exit status 1 if a reader has not exactly what was published.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

SOURCE = str(Path(__file__).resolve().parent.parent / "src")
sys.path.insert(0, SOURCE)

from vidette import AsyncClient, Client
from vidette.models import TransportChoice

TOPIC = "kills.numbers"
LAST = "last"
EVENTS_BEFORE_RESTART = 500
SECONDS_TO_FINISH = 60.0


class Gateway:
    """A gateway on a free port, with a log that outlives it."""

    def __init__(self, program: str, folder: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = "127.0.0.1:%d" % free.getsockname()[1]
        self._command = [program, "serve", "--data-dir", f"{folder}/log", "--listen", address]
        self._log = open(f"{folder}/stderr", "ab")  # noqa: SIM115, open as long as the gateway
        self.url = f"http://{address}"
        self.kills = 0
        self.start()

    def start(self) -> None:
        """Starts it on the log that it left."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=self._log)

    def kill(self) -> None:
        """SIGKILL: it closes nothing and syncs nothing."""
        self._process.kill()
        self._process.wait()
        self.kills += 1


async def follow(bus: AsyncClient, transport: TransportChoice) -> list[int]:
    """Reads to the last event by one subscription."""
    seen: list[int] = []

    async with bus.subscribe(TOPIC, after="earliest", transport=transport) as events:
        async for event in events:
            if event.json == LAST:
                break
            seen.append(event.json)

    return seen


async def begin_again(bus: AsyncClient) -> list[int]:
    """Reads to the last event by one subscription after another."""
    seen: list[int] = []
    cursor = "earliest"

    while True:
        async with bus.subscribe(TOPIC, after=cursor) as events:
            async for event in events:
                if event.json == LAST:
                    return seen
                seen.append(event.json)
                cursor = event.cursor
                if len(seen) % EVENTS_BEFORE_RESTART == 0:
                    break


async def follow_in_a_process(url: str) -> list[int]:
    """The driver without async."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--follow", url, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    return [int(line) for line in output.split()]


def follow_sync(url: str) -> None:
    """Prints the numbers up to the last event."""
    with Client(url) as bus, bus.subscribe(TOPIC, after="earliest") as events:
        for event in events:
            if event.json == LAST:
                break
            print(event.json)


async def publish(bus: AsyncClient, seconds: float) -> int:
    """Publishes 0, 1, 2 … until the time is over; returns how many."""
    ends_at = time.monotonic() + seconds
    count = 0

    async with bus.stream() as out:
        while time.monotonic() < ends_at:
            for _ in range(20):
                await out.put(TOPIC, count)
                count += 1
            await out.flush()
            await asyncio.sleep(0.02)
        await out.put(TOPIC, LAST)

    return count


async def kill_and_start(gateway: Gateway) -> AsyncIterator[None]:
    """For ever, at random."""
    while True:
        await asyncio.sleep(random.uniform(0.5, 3.0))
        gateway.kill()
        await asyncio.sleep(random.uniform(0.0, 0.5))
        gateway.start()
        yield


async def check(gateway: Gateway, seconds: float) -> bool:
    """True if every reader has what was published, once and in order."""
    async with AsyncClient(gateway.url) as bus:
        readers = {
            "async, SSE": asyncio.create_task(follow(bus, "auto")),
            "async, long-poll": asyncio.create_task(follow(bus, "poll")),
            "begins again": asyncio.create_task(begin_again(bus)),
            "without async": asyncio.create_task(follow_in_a_process(gateway.url)),
        }
        publisher = asyncio.create_task(publish(bus, seconds))

        async for _ in kill_and_start(gateway):
            if publisher.done():
                break

        published = list(range(publisher.result()))
        await asyncio.wait(readers.values(), timeout=SECONDS_TO_FINISH)
        print(f"{gateway.kills} kills, {len(published)} events published")
        return all([report(name, reader, published) for name, reader in readers.items()])


def report(name: str, reader: asyncio.Task[list[int]], published: list[int]) -> bool:
    """One line for a reader."""
    if not reader.done():
        reader.cancel()
        print(f"{name}: has not finished")
        return False

    seen = reader.result()
    lost = len(set(published) - set(seen))
    print(f"{name}: {len(seen)} read, {lost} lost, {len(seen) - len(set(seen))} doubled, "
          f"in order: {seen == sorted(seen)}")

    return seen == published


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gateway", default="target/release/vidette")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--follow", help=argparse.SUPPRESS)
    asked = parser.parse_args()

    logging.getLogger("vidette").setLevel(logging.ERROR)
    if asked.follow:
        follow_sync(asked.follow)
        return

    with tempfile.TemporaryDirectory() as folder:
        gateway = Gateway(asked.gateway, folder)
        try:
            good = asyncio.run(check(gateway, asked.seconds))
        finally:
            gateway.kill()

    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
