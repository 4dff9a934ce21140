"""Drives any library's adapter against a real gateway that is killed, and checks its history.

    python3 tests/kit/kills --seconds 600 js
    python3 tests/kit/kills --seconds 600 node clients/js/kit/adapter.js

Five readers follow from the start, each in a process of the adapter: over SSE, over long-poll, over
what the library chooses, one that closes and subscribes again, one that is killed with SIGKILL. One
more publishes events with known ids. All speak TLS through a network that cuts connections, breaks
them off within a record and freezes. The gateway is killed with SIGKILL, its certificate is swapped
and its clock, which is also the adapters' clock, jumps by up to half a day. (A program that does not
ask the C library for the time, as those in Go, keeps the right one.) In the end the log, the receipts
and what each reader handed on have to agree: nothing lost, nothing twice, in order.

It needs Python 3.10, openssl and cc. The exit status is 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import ssl
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from adapter import Surroundings
from history import whole_log, wrong_publishing, wrong_reading
from link import Link
from machine import REPOSITORY, START_PATIENCE_SECONDS, Certificates, Gateway, WrongClock
from publisher import Publisher
from reader import Reader, readers

# The adapters of this repository, from its folder.
ADAPTERS = {
    "python": [".tools/venv/bin/python", "clients/python/kit/adapter.py"],
    "js": ["node", "clients/js/kit/adapter.js"],
    "go": [".tools/bin/kit-go"],
    "php": ["php", "clients/php/kit/adapter.php"],
    "rust": ["target/debug/vidette-rust-kit"],
}
SECONDS_BETWEEN = (0.3, 3.0)
SECONDS_TO_FINISH = 120.0
MOST_FINDINGS_SHOWN = 5


class Run:
    """One run in a folder of its own."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.clock = WrongClock(folder)
        self.certificates = Certificates(folder, self.clock)
        self.gateway = Gateway(asked.gateway, folder, self.clock)
        self.link = Link(self.gateway.port)
        self.readers = readers()
        self.publisher = Publisher(asked.publish.split(","), asked.rate)
        self.adapter_log = folder / "adapters.log"
        self._asked = asked

    async def play(self) -> None:
        """Reads, publishes and disturbs for the time asked for; then lets everybody finish."""
        url = f"https://127.0.0.1:{await self.link.start()}"
        surroundings = Surroundings(self._asked.adapter, url, self.certificates.authority,
                                    self.clock.environment, self.adapter_log)
        await self._until_served()
        reading = [asyncio.create_task(reader.run(surroundings)) for reader in self.readers]
        await self.publisher.start(surroundings)

        try:
            disturbing = asyncio.create_task(self._disturb())
            publishing = self.publisher.run(self._asked.seconds)
            await asyncio.wait_for(publishing, self._asked.seconds + SECONDS_TO_FINISH)
            disturbing.cancel()
            await asyncio.wait([disturbing])
            await self._calm()

            await asyncio.wait_for(self.publisher.finish(), SECONDS_TO_FINISH)
            await asyncio.wait(reading, timeout=SECONDS_TO_FINISH)
        except asyncio.TimeoutError:
            print(f"{self.publisher.unanswered()} events have no receipt", flush=True)
        finally:
            await self._stop(reading)

    async def _stop(self, reading: list[asyncio.Task[None]]) -> None:
        for task in reading:
            task.cancel()
        for end in await asyncio.gather(*reading, return_exceptions=True):
            if isinstance(end, Exception):
                print(f"a reader failed: {end!r}", flush=True)
        await self.publisher.stop()
        await self.link.close()

    async def _disturb(self) -> None:
        kinds = [self._kill, self._kill, self._cut, self._cut, self._freeze, self._swap, self._jump]
        await asyncio.sleep(SECONDS_BETWEEN[0])
        await self._kill()  # also in the shortest run

        while True:
            await asyncio.sleep(random.uniform(*SECONDS_BETWEEN))
            await random.choice(kinds)()

    async def _kill(self) -> None:
        self.gateway.kill()
        down_seconds = random.choice([0.0, 0.3, 3.0])
        try:
            await asyncio.sleep(random.uniform(0.0, down_seconds))
        finally:
            self.gateway.start()
        if random.random() < 0.8:
            await self._until_served()

    async def _cut(self) -> None:
        self.link.cut(random.choice([0.3, 1.0]))

    async def _freeze(self) -> None:
        await self.link.freeze(random.uniform(0.5, 8.0))

    async def _swap(self) -> None:
        await asyncio.to_thread(self.certificates.swap)
        if random.random() < 0.5:
            self.gateway.reload()
        # Who has a connection keeps it; who makes one gets the new certificate.
        await self._until_served()
        self.link.cut(0.5)

    async def _jump(self) -> None:
        self.clock.jump()

    async def _calm(self) -> None:
        self.link.thaw()
        await self._until_served()

    async def _until_served(self) -> None:
        """Until a new connection to the gateway gets the certificate in use."""
        ends_at = time.monotonic() + START_PATIENCE_SECONDS
        while await asyncio.to_thread(served_certificate, self) != self.certificates.in_use():
            if time.monotonic() > ends_at:
                raise SystemExit(f"no gateway:\n{self.gateway.log.read_text()[-4000:]}")
            await asyncio.sleep(0.02)


def served_certificate(run: Run) -> bytes | None:
    """What a new connection is shown; none if there is no gateway."""
    try:
        with socket.create_connection(("127.0.0.1", run.gateway.port), 5) as plain, \
                run.certificates.context().wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            return tls.getpeercert(binary_form=True)
    except (OSError, ssl.SSLError):
        return None


def report(run: Run) -> bool:
    """Prints what was done and found; true if nothing was wrong."""
    log = whole_log(run.gateway.port, run.certificates.context())
    found = wrong_publishing(log, run.publisher)
    answers = run.publisher.receipts.values()
    print(f"{run.gateway.kills} kills, {run.link.cuts} connections cut, {run.link.freezes} freezes, "
          f"{run.certificates.swaps} certificates, {run.clock.jumps} jumps of the clock")
    print(f"{len(run.publisher.sent)} events published, {len(log)} in the log, "
          f"{sum(1 for answer in answers if answer.get('duplicate'))} found there when sent again")

    for reader in run.readers:
        lost, doubled, wrong = wrong_reading(log, reader)
        print(f"{reader.name}: {len(reader.handed)} read, {lost} lost, {doubled} doubled, "
              f"{reader.reconnects} waits" + deaths(reader))
        found += [f"{reader.name}: {text}" for text in wrong]

    # Some of each kind, so that many of one do not hide another.
    for kind, count in Counter(text.split(":")[0] for text in found).items():
        of_kind = [text for text in found if text.split(":")[0] == kind]
        for text in of_kind[:MOST_FINDINGS_SHOWN]:
            print(f"wrong: {text[:1000]}")
        if count > MOST_FINDINGS_SHOWN:
            print(f"{count} such: {kind}")
    print("ok" if not found else f"{len(found)} things are wrong", flush=True)
    return not found


def deaths(reader: Reader) -> str:
    """How often it was killed, if ever."""
    return f", {reader.deaths} times killed" if reader.deaths else ""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tests/kit/kills", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default=str(REPOSITORY / "target/release/vidette"))
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=int, default=100, help="events a second")
    parser.add_argument("--publish", default="one,batch,stream", metavar="MODES",
                        help="those that the library has")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("adapter", nargs="+", metavar="NAME | COMMAND",
                        help=f"a library ({', '.join(ADAPTERS)}), or the command of its adapter")

    asked = parser.parse_args()
    if len(asked.adapter) == 1:
        asked.adapter = ADAPTERS.get(asked.adapter[0], asked.adapter)
    return asked


def main() -> None:
    """One run; its folder is kept where something was wrong."""
    asked = arguments()
    random.seed(asked.seed)
    print(f"seed {asked.seed}, {asked.seconds:.0f} s: {' '.join(asked.adapter)}", flush=True)

    folder = tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True)
    run = Run(asked, Path(folder.name))
    try:
        asyncio.run(run.play())
        is_right = report(run)
        if not is_right:
            print(f"the adapters said last:\n{run.adapter_log.read_text()[-4000:]}")
    finally:
        run.gateway.stop()
        folder.cleanup()

    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
