"""Calls the WSGI application with a complete request, in a thread of the pool."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import h11

from appliance.web.transport.connection_writer import ConnectionWriter

CONNECTION = "appliance.connection"
"""Key in the WSGI environ under which a view finds its `Connection`."""

HEAD_ONLY = "appliance.head_only"
"""Key in the WSGI environ of a request whose large body has not been read. Any answer but `CONTINUE` refuses
it."""

CONTINUE = 100
"""The status that lets a large body come; then the application is called again, with it."""

GATHER_BYTES = 65536
"""How much of a body is made before it is sent."""

_CONTROL = frozenset({*range(0x20), 0x7F} - {ord("\t")})
"""Which h11 lets through in a header, and RFC 9110 (5.5) does not."""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass
class Connection:
    """What the application knows of the connection of a request, and can do with it."""

    is_over_limit: bool = False
    """Whether it is one too many, so that only an operator is answered."""
    role: str = ""
    """The role of its last known caller; the application sets it."""
    take_over: Callable[[ConnectionWriter], None] | None = None
    """A view sets it to continue in the event loop after the head of its answer."""


class Answer:
    """The answer of the application. Make it, and call its methods, in the pool."""

    def __init__(self, app: WsgiApp, environ: dict[str, Any]) -> None:
        """Call the application and make the first part of the body; raises what the application raises."""
        self.status, self.reason = 0, b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.block = b""
        """The part of the body that was made last."""
        self.is_complete = False
        """Whether there are no more parts."""
        self.failure: Exception | None = None
        """Why the body ends before it is complete."""
        self.is_closed = False
        self._body = app(environ, self._start_response)
        self._blocks = iter(self._body)
        self._lock = threading.Lock()  # the server may stop, and close the body, while a part is being made
        self.make_block()
        if self.failure is not None and not self.status:
            self.close()
            raise self.failure
        if self.is_complete and environ[CONNECTION].take_over is None:
            self.close()

    def make_block(self) -> None:
        """Make the next part."""
        parts, size = [], 0
        with self._lock:
            try:
                while size < GATHER_BYTES and not self.is_complete:
                    block = next(self._blocks, None)
                    self.is_complete = block is None
                    parts.append(block or b"")
                    size += len(parts[-1])
            except Exception as error:
                # Any exception: it belongs to the connection, once the blocks before it are sent.
                self.failure = error
        self.block = b"".join(parts)

    def close(self) -> None:
        """The answer was sent, or never will be. Must be called, and may be called twice."""
        with self._lock:
            if self.is_closed:
                return
            self.is_closed = True
            close = getattr(self._body, "close", None)
            if close is not None:
                close()

    def _start_response(self, status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
        code, _, reason = status.partition(" ")
        self.status, self.reason = int(code), reason.encode("latin-1")
        self.headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return _refuse_write


def _refuse_write(data: bytes) -> None:
    raise RuntimeError("this server has no write(), which PEP 3333 advises against; return the body")


def make_environ(
    request: h11.Request,
    body: bytes,
    connection: Connection,
    *,
    peer: str,
    server: tuple[str, str],
    scheme: str,
) -> dict[str, Any]:
    """The WSGI environ of a request; raises `ValueError` for a target or a header that no server can answer.

    `server`: name and port.
    """
    target = request.target.decode("latin-1")
    environ: dict[str, Any] = {"wsgi.url_scheme": scheme, CONNECTION: connection}
    for raw_name, raw_value in request.headers:
        name = raw_name.decode("latin-1")
        if "_" in name:  # the environ could not tell it from the name with a dash
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        if not _CONTROL.isdisjoint(raw_value):
            raise ValueError(f"the header {name} has a control character")
        value, joint = raw_value.decode("latin-1"), "; " if key == "HTTP_COOKIE" else ", "
        environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    if not target.startswith("/") and target != "*":
        url = urlsplit(target)  # the absolute form: RFC 9112, 3.2.2
        if url.scheme not in ("http", "https") or not url.netloc:
            raise ValueError("the request target is neither a path nor an absolute address")
        environ["HTTP_HOST"] = url.netloc
        target = target[len(f"{url.scheme}://{url.netloc}") :] or "/"
        target = target if target.startswith("/") else f"/{target}"
    if target.startswith("//"):
        raise ValueError("the request target begins with two slashes, which some read as a host")
    if "#" in target:
        raise ValueError("the request target has a fragment, which is not sent to servers")
    path, _, query = target.partition("?")
    if environ.pop("HTTP_TRANSFER_ENCODING", None):
        environ["CONTENT_LENGTH"] = str(len(body))
    environ |= {
        "REQUEST_METHOD": request.method.decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "REQUEST_URI": request.target.decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version.decode('ascii')}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": server[1],
        "REMOTE_ADDR": peer,
        "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    return environ
