"""The second port, for addresses without https: it redirects browsers to the page and does nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import quote

from appliance.auth.rate_limits import RequestRates
from appliance.errors import TooManyAttempts
from appliance.web.security.hosts import is_device_name, parse_host

_HTTPS = 443
_SAFE_IN_PATH, _SAFE_IN_QUERY = "/!$&'()*+,;=:@~", "/?!$&'()*+,;=:@~%"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class HttpsRedirect:
    """A WSGI application that answers 308 to GET and HEAD, and 400 to everything else.

    It redirects only to names of this device, so that no link through it leads to another site.
    """

    def __init__(
        self, port: Callable[[], int], allowed: Collection[str], rates: RequestRates, *, network: bool = True
    ) -> None:
        """`port` returns the port of the page; `allowed` and `network` as in `is_device_name`."""
        self._port, self._allowed, self._rates, self._network = port, allowed, rates, network

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        try:
            self._rates.take(environ.get("REMOTE_ADDR", ""))
        except TooManyAttempts as error:
            return _respond(
                start_response, "429 Too Many Requests", ("Retry-After", str(math.ceil(error.wait_s)))
            )
        name = parse_host(environ.get("HTTP_HOST", ""))
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or not is_device_name(
            name, self._allowed, network=self._network
        ):
            return _respond(start_response, "400 Bad Request")
        return _respond(
            start_response, "308 Permanent Redirect", ("Location", self._target(str(name), environ))
        )

    def _target(self, name: str, environ: dict[str, Any]) -> str:
        host = f"[{name}]" if ":" in name else name
        port = "" if self._port() == _HTTPS else f":{self._port()}"
        path = quote(environ.get("PATH_INFO", "").encode("latin-1"), safe=_SAFE_IN_PATH) or "/"
        query = quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe=_SAFE_IN_QUERY)
        return f"https://{host}{port}{path}{'?' if query else ''}{query}"


def _respond(start_response: StartResponse, status: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    body = b"" if headers else b"The page of this device is encrypted: its address begins with https://.\n"
    fixed = [
        ("Content-Type", "text/plain"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),  # browsers would cache a 308 forever, even after the port changes
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response(status, [*fixed, *headers])
    return [body]
