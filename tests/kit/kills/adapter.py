"""A library's adapter as a process: JSON lines in, JSON lines out (tests/kit/README.md)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from machine import REPOSITORY

LONGEST_LINE_BYTES = 16 * 1024 * 1024

Line = dict[str, Any]


class Surroundings:
    """What every adapter of a run is started with."""

    def __init__(
        self, command: list[str], url: str, authority: Path, more: dict[str, str], log: Path,
    ) -> None:
        self.command = command
        self.log = log
        # In real time; whatever the library asks which authorities to trust says this one.
        self.environment = os.environ | more | {
            "VIDETTE_KIT": "fast", "VIDETTE_KIT_WAITS": "1", "VIDETTE_KIT_LIMITS": "1",
            "VIDETTE_KIT_URL": url, "VIDETTE_KIT_CA": str(authority),
            "SSL_CERT_FILE": str(authority), "NODE_EXTRA_CA_CERTS": str(authority),
        }


class Adapter:
    """A running adapter."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, surroundings: Surroundings) -> Adapter:
        """Begins anew, knowing nothing."""
        with open(surroundings.log, "ab") as log:
            return cls(await asyncio.create_subprocess_exec(
                *surroundings.command, env=surroundings.environment, cwd=REPOSITORY,
                limit=LONGEST_LINE_BYTES, stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=log))

    def tell(self, do: str, **fields: Any) -> None:
        """One command, without what is None."""
        known = {name: value for name, value in fields.items() if value is not None}
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **known}).encode() + b"\n")

    async def line(self) -> Line | None:
        """What it says next; none at its end. Half a line of one that was killed is not said."""
        assert self._process.stdout
        line = await self._process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def kill(self) -> None:
        """SIGKILL; what it has said can still be read."""
        # Not by the process's own method, which would take the exit status away from asyncio.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Waits for its end."""
        await self._process.wait()
