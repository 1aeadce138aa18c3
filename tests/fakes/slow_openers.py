"""A crowd that opens TLS connections and never finishes a request, in a process of its own.

`python -m tests.fakes.slow_openers HOST PORT hellos|heads SOURCE...` prints a line when all are connected,
and runs until its standard input ends.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import sys
import threading
from contextlib import suppress

PER_ADDRESS = 16

HELLO = bytes.fromhex("1603010200010001fc0303")
"""The start of a TLS hello of 512 bytes."""


class SlowOpeners:
    """Holds 16 connections from each address, sends a byte at a time, and opens closed ones again."""

    def __init__(self, server: tuple[str, int], sources: list[str], *, hello: bool) -> None:
        """`hello`: they do not finish the TLS handshake; else they do, and not the head."""
        self._server, self._sources, self._hello = server, sources, hello
        self._selector = selectors.DefaultSelector()

    def run(self, over: threading.Event) -> None:
        for source in self._sources * PER_ADDRESS:
            self._open(source)
        print("connected", flush=True)
        while not over.wait(0.05):
            for key, _ in self._selector.select(0):
                if self._is_closed(key.fileobj):
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()
                    self._open(key.data)
            for key in list(self._selector.get_map().values()):
                with suppress(OSError):
                    key.fileobj.send(b"a")

    def _is_closed(self, sock: socket.socket) -> bool:
        try:
            return sock.recv(4096) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True

    def _open(self, source: str) -> None:
        with suppress(OSError):
            sock = socket.create_connection(self._server, 5, source_address=(source, 0))
            if self._hello:
                sock.send(HELLO)
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                try:
                    sock = context.wrap_socket(sock)
                except OSError:
                    sock.close()
                    raise
                sock.send(b"GET /api/state HTTP/1.1\r\nX-A: ")
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, source)


def main(host: str, port: str, kind: str, *sources: str) -> None:
    """Run until standard input ends."""
    over = threading.Event()
    crowd = SlowOpeners((host, int(port)), list(sources), hello=kind == "hellos")
    thread = threading.Thread(target=crowd.run, args=(over,))
    thread.start()
    sys.stdin.read()
    over.set()
    thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
