"""A Flask response after whose head the event loop takes the connection over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Response
from werkzeug.wsgi import ClosingIterator

from appliance.web.transport.connection_writer import ConnectionWriter
from appliance.web.transport.wsgi import CONNECTION


class Takeover(Response):
    """Its `begin` gets the connection, in the event loop: it sets the callbacks and may send.

    The view has run by then, with every check before it and every header after it. `call_on_close` callbacks
    are called in the pool when the connection has ended, also if it never began.
    """

    def __init__(
        self, begin: Callable[[ConnectionWriter], None], status: int, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        super().__init__(status=status, headers=list(headers))
        self._begin = begin

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """End the WSGI part of the request."""
        connection = environ.get(CONNECTION)  # another WSGI server sends the head alone
        if connection is not None and environ["REQUEST_METHOD"] != "HEAD":
            connection.take_over = self._begin
        self.headers.pop("Content-Length", None)
        start_response(self.status, self.headers.to_wsgi_list())
        return ClosingIterator((), self.close)
