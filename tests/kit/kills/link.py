"""The network between the library and the gateway: it cuts, breaks off and freezes."""

from __future__ import annotations

import asyncio
import random
import socket
import struct

CHUNK_BYTES = 16 * 1024


class Link:
    """Carries every connection to one port, as it is; TLS is between the ends."""

    def __init__(self, target_port: int) -> None:
        self.cuts = 0
        self.freezes = 0
        self._target_port = target_port
        self._pairs: set[Pair] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def start(self) -> int:
        """The port it listens on."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self, share: float) -> None:
        """Cuts about this share of the connections, each within the next bytes or at once."""
        for pair in list(self._pairs):
            if random.random() < share:
                self.cuts += 1
                if random.random() < 0.5:
                    pair.is_to_break = True
                else:
                    pair.reset()

    async def freeze(self, seconds: float) -> None:
        """Nothing comes through for so long, and nobody is notified; half of the time it is cut then."""
        self.freezes += 1
        self._flowing.clear()
        await asyncio.sleep(seconds)
        if random.random() < 0.5:
            self.cut(1.0)
        self.thaw()

    async def close(self) -> None:
        """Nobody is connected any more."""
        self._server.close()
        for pair in list(self._pairs):
            pair.reset()
        while self._pairs:
            await asyncio.sleep(0.01)

    def thaw(self) -> None:
        """Everything comes through again."""
        self._flowing.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return

        pair = Pair(writer, far[1])
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(reader, far[1], pair), self._pump(far[0], writer, pair))
        except OSError:
            pair.reset()
        finally:
            self._pairs.discard(pair)

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, pair: Pair,
    ) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._flowing.wait()
            if pair.is_to_break:
                target.write(data[:random.randrange(len(data))])
                await asyncio.sleep(0)
                pair.close()
                return
            target.write(data)
            await target.drain()

        # One direction has ended; SSE and polls need no half-open connections.
        pair.close()


class Pair:
    """Both ends of a connection."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.is_to_break = False
        self._ends = (near, far)

    def close(self) -> None:
        """FIN behind what was written."""
        for end in self._ends:
            end.close()

    def reset(self) -> None:
        """RST, and what was on its way is gone."""
        for end in self._ends:
            if (raw := end.get_extra_info("socket")) is not None:
                try:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                except OSError:
                    pass  # closed already
            end.transport.abort()
