"""A program that sends pictures to `/ws/camera` as the page does, without a browser."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.fakes.network_cameras import scene_jpeg

WITHIN_S = 15.0


class BrowserCamera:
    """Sends the next picture as soon as one was taken."""

    def __init__(
        self,
        url: str,
        *,
        picture: Callable[[int], bytes] = scene_jpeg,
        window: int = 1,
        headers: dict[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`window`: pictures under way. With one, none of them is ever replaced by the next."""
        self._url, self._picture, self._window, self._headers, self._tls = url, picture, window, headers, tls
        self.sent = 0
        """Pictures sent in all."""
        self.waits: list[str] = []
        """The reasons for waiting."""
        self.closed: tuple[int, str] | None = None
        """Code and reason with which the device closed the last connection."""
        self._connection: ExitStack | None = None

    def start(self) -> None:
        """Connect, and return when the device has answered."""
        with ExitStack() as opened:
            opening = connect(
                self._url, additional_headers=self._headers, ssl=self._tls, proxy=None, open_timeout=WITHIN_S
            )
            socket = opened.enter_context(opening)
            thread = threading.Thread(
                target=self._run, args=(socket, socket.recv(WITHIN_S)), name="browser camera"
            )
            thread.start()
            opened.callback(thread.join)
            opened.callback(socket.close)
            self._connection = opened.pop_all()

    def stop(self) -> None:
        """Leave; harmless if it does not run."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _run(self, socket: ClientConnection, first: Any) -> None:
        sent = taken = 0
        message = first
        try:
            while True:
                said = json.loads(message)
                if "wait" in said:
                    self.waits.append(said["wait"])
                    socket.send(json.dumps({"waiting": True}))
                else:
                    taken = said["taken"]
                    sent = sent if taken else 0
                    while sent - taken < self._window:
                        socket.send(self._picture(sent))
                        sent += 1
                        self.sent += 1
                message = socket.recv()
        except ConnectionClosed as closed:
            self.closed = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else None


@contextmanager
def browser_camera(url: str, **behaviour: Any) -> Iterator[BrowserCamera]:
    """A sender that runs until the end of the block."""
    sender = BrowserCamera(url, **behaviour)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()
