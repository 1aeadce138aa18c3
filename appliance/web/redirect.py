"""The second port, for addresses without https: it redirects browsers to the page and does nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import quote

from appliance.auth.rate_limits import RequestRates
from appliance.errors import TooManyAttempts
from appliance.web.security.hosts import host_refusal, is_device_name, parse_host

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
            wait = "Retry-After", str(math.ceil(error.wait_s))
            return _respond(start_response, "429 Too Many Requests", str(error), wait)
        host, method = environ.get("HTTP_HOST", ""), environ["REQUEST_METHOD"]
        name = parse_host(host)
        if name is None or not is_device_name(name, self._allowed, network=self._network):
            return _respond(start_response, "400 Bad Request", host_refusal(host))
        if method not in ("GET", "HEAD"):
            reason = f"{method} is not redirected; send it to {self._target(name, environ)}"
            return _respond(start_response, "400 Bad Request", reason)
        target = "Location", self._target(name, environ)
        return _respond(start_response, "308 Permanent Redirect", "", target)

    def _target(self, name: str, environ: dict[str, Any]) -> str:
        host = f"[{name}]" if ":" in name else name
        port = "" if self._port() == _HTTPS else f":{self._port()}"
        path = quote(environ.get("PATH_INFO", "").encode("latin-1"), safe=_SAFE_IN_PATH) or "/"
        query = quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe=_SAFE_IN_QUERY)
        return f"https://{host}{port}{path}{'?' if query else ''}{query}"


def _respond(
    start_response: StartResponse, status: str, reason: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    body = f"{reason}\n".encode() if reason else b""
    fixed = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),  # browsers would cache a 308 forever, even after the port changes
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    start_response(status, [*fixed, *headers])
    return [body]
