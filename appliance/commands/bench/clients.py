"""Clients of a running daemon, in a process of their own: `python -m appliance.commands.bench.clients`.

Writes one line once every client has received something. Then it answers each line on standard input with the
number of pictures or messages that all clients have received, and ends with standard input.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.sync import client as blocking

from appliance.errors import ApplianceError

_LIMIT_S = 20.0


class Clients:
    """`count` clients of one path, and how much they have received."""

    def __init__(self, url: str, path: str, count: int, trust: ssl.SSLContext | None) -> None:
        self._url, self._path, self._count, self._trust = urlsplit(url), path, count, trust
        self._received = [0] * count
        self._started = asyncio.Semaphore(0)

    async def run(self) -> None:
        """Watch until standard input ends; raises `OSError` if a client is refused or dropped."""
        watching = [asyncio.ensure_future(self._watch(index)) for index in range(self._count)]
        started = asyncio.ensure_future(self._all_started())
        await asyncio.wait([started, *watching], timeout=_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():
            await self._fail(watching, f"not all of {self._count} clients received something")
        print("watching", flush=True)
        asking = asyncio.ensure_future(self._answer())
        await asyncio.wait([asking, *watching], return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            await self._fail(watching, "a client was dropped")
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)

    async def _all_started(self) -> None:
        for _ in range(self._count):
            await self._started.acquire()

    async def _fail(self, watching: Sequence[asyncio.Future[None]], what: str) -> None:
        for task in watching:
            if task.done():
                await task
        raise OSError(f"{self._path}: {what}")

    async def _answer(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while await reader.readline():
            print(sum(self._received), flush=True)

    def _add(self, index: int, amount: int = 1) -> None:
        if amount and not self._received[index]:
            self._started.release()
        self._received[index] += amount

    async def _watch(self, index: int) -> None:
        """Pictures come as binary messages, and are acknowledged as the page does."""
        scheme = "wss" if self._trust else "ws"
        url = f"{scheme}://{self._url.netloc}{self._path}"
        async with connect(url, ssl=self._trust, max_size=None, open_timeout=_LIMIT_S) as socket:
            async for message in socket:
                self._add(index)
                if isinstance(message, bytes):
                    length = int.from_bytes(message[:4], "big")
                    head = json.loads(message[4 : 4 + length])
                    await socket.send(json.dumps({"shown": head["frame"]}))


def send_pictures(url: str, pictures: Sequence[bytes], seconds: float) -> Iterator[float]:
    """Send JPEGs to /ws/analyze, the next when the answer has come; milliseconds until each answer."""
    address = f"ws://{urlsplit(url).netloc}/ws/analyze?consent=yes"
    with blocking.connect(address, proxy=None) as socket:
        socket.send(pictures[0])  # opens the models
        socket.recv()
        end = time.monotonic() + seconds
        for picture in cycle(pictures):
            began = time.monotonic()
            if began > end:
                return
            socket.send(picture)
            answer = json.loads(socket.recv())
            if "error" in answer:
                raise ApplianceError(f"a picture was not read: {answer['error']}")
            yield 1000 * (time.monotonic() - began)


def main(url: str, path: str, count: str, certificate: str = "") -> None:
    """Watch `path` of the daemon at `url`. `certificate`: the PEM file of the daemon's own certificate."""
    trust = ssl.create_default_context(cafile=certificate) if certificate else None
    if trust:
        trust.check_hostname = False  # it is pinned
    asyncio.run(Clients(url, path, int(count), trust).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
