"""Requests that a proxy forwards: whose headers are believed, and the path below which the page appears.

The rules and their reasons are in docs/decisions/0088-trusted-proxies.md.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import parse_http_list

from appliance.system.addresses import is_loopback, parse_address

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_KEY = "appliance.route"
"""Key in the WSGI environ of the request's `Route`."""

_FIELDS = {"for": "HTTP_X_FORWARDED_FOR", "proto": "HTTP_X_FORWARDED_PROTO", "host": "HTTP_X_FORWARDED_HOST"}
"""The parameters of `Forwarded` (RFC 7239) that are read, and the older header of each."""

_PREFIX = "HTTP_X_FORWARDED_PREFIX"

_TRACES = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP", _PREFIX, *_FIELDS.values())
"""The headers that show that a proxy forwarded a request."""

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")

_MOST_LOGGED = 64  # different lines; a local account has 16 million loopback addresses

_log = logging.getLogger("appliance.web")


@dataclass(frozen=True)
class Route:
    """How a request arrived.

    `peer`: the address of the connection. `is_trusted`: it is a trusted proxy's. `has_traces`: headers show
    that a proxy forwarded the request. `refusal`: why no one may make it, empty if someone may.
    """

    peer: str
    is_trusted: bool = False
    has_traces: bool = False
    refusal: str = ""

    @property
    def is_from_this_device(self) -> bool:
        """Whether a program on this device made the request, as far as anyone can tell."""
        return is_loopback(self.peer) and not self.is_trusted and not self.has_traces

    @property
    def is_forwarded(self) -> bool:
        """Whether a trusted proxy forwarded it: address, scheme, host and prefix are those that it names."""
        return self.is_trusted and not self.refusal


def route_of(environ: Mapping[str, Any]) -> Route:
    """The route of a request; one that did not pass `TrustedProxies` arrived directly."""
    found = environ.get(_KEY)
    return cast(Route, found) if found else Route(str(environ.get("REMOTE_ADDR", "")))


class TrustedProxies:
    """The proxies in front of the page, and the path below which it appears.

    `wrap` gives the application the request as the client made it: address, scheme, host, prefix.
    """

    def __init__(self, networks: Iterable[str] = (), base_path: str = "") -> None:
        """`networks`: as in `web.trusted_proxies`; `base_path`: without a slash at its end."""
        self._networks = [ipaddress.ip_network(each) for each in networks]
        self._base_path = base_path
        self._lock = threading.Lock()
        self._logged: set[str] = set()

    def is_trusted(self, address: str) -> bool:
        """Whether this is the address of a trusted proxy."""
        found = parse_address(address)
        return found is not None and any(found in network for network in self._networks)

    def wrap(self, app: WsgiApp) -> WsgiApp:
        """The application behind these proxies."""

        def behind(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            environ[_KEY] = self._route(environ)
            self._mount(environ)
            return app(environ, start_response)

        return behind

    def log_once(self, line: str) -> None:
        """Log a warning, unless it was logged before."""
        with self._lock:
            if line in self._logged or len(self._logged) >= _MOST_LOGGED:
                return
            self._logged.add(line)
        _log.warning("%s", line)

    def _route(self, environ: dict[str, Any]) -> Route:
        peer = str(environ.get("REMOTE_ADDR", ""))
        has_traces = any(environ.get(name) for name in _TRACES)
        if not self.is_trusted(peer):
            is_unknown = has_traces and is_loopback(peer)
            refusal = f"a proxy at {peer} forwards this request: {how_to_trust(peer)}" if is_unknown else ""
            return Route(peer, has_traces=has_traces, refusal=refusal)
        try:
            environ.update(self._believed(environ))
        except ValueError as error:
            return Route(peer, True, has_traces, f"the proxy at {peer} {error}; see docs/proxy.md")
        return Route(peer, True, has_traces)

    def _believed(self, environ: Mapping[str, Any]) -> dict[str, str]:
        """The WSGI names of address, scheme, host and prefix, as the proxy says; raises `ValueError`."""
        said = _columns(environ)
        hop, client = self._client(said["for"])
        scheme, host = _at(said["proto"], hop).lower(), _at(said["host"], hop)
        prefix = _at(_items(environ.get(_PREFIX, "")), hop).rstrip("/")
        if scheme not in ("", "http", "https"):
            raise ValueError("forwards a scheme other than http and https")
        if not _PATH.fullmatch(prefix):
            raise ValueError("forwards a prefix that is no plain path such as /grader")
        believed = {"wsgi.url_scheme": scheme, "HTTP_HOST": host, "SCRIPT_NAME": prefix}
        return {"REMOTE_ADDR": client, **{name: value for name, value in believed.items() if value}}

    def _client(self, addresses: Sequence[str]) -> tuple[int, str]:
        """The client, and its place counted from the right: the last address that is no trusted proxy's.

        Whatever is left of it was written by the client. If all are trusted, the first one is the client.
        """
        if not addresses:
            raise ValueError("names no client: let it send X-Forwarded-For or Forwarded")
        client = ""
        for hop, text in enumerate(reversed(addresses), 1):
            found = _address(text)
            if found is None:
                raise ValueError("names a client that is not a numeric address")
            client = found
            if not self.is_trusted(client):
                return hop, client
        return len(addresses), client

    def _mount(self, environ: dict[str, Any]) -> None:
        """Split the path into prefix and the rest, whether the proxy removed the prefix or not."""
        prefix, path = environ.get("SCRIPT_NAME") or self._base_path, str(environ.get("PATH_INFO", ""))
        environ["SCRIPT_NAME"] = prefix
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            environ["PATH_INFO"] = path[len(prefix) :]


def how_to_trust(peer: str) -> str:
    """What to set if a proxy at this address forwards requests."""
    return (
        f'add "{peer}" to web.trusted_proxies and let it send X-Forwarded-For, -Proto and -Host;'
        " see docs/proxy.md"
    )


def _columns(environ: Mapping[str, Any]) -> dict[str, list[str]]:
    """What the proxies say of each field, the nearest last; raises `ValueError`."""
    older = {field: _items(environ.get(name, "")) for field, name in _FIELDS.items()}
    standard = environ.get("HTTP_FORWARDED", "")
    if not standard:
        return older
    if any(older.values()):
        # A proxy that writes one of them passes on the other as the client sent it.
        raise ValueError("sends Forwarded and X-Forwarded-*: let it delete those that it does not write")
    elements = [_parameters(element) for element in _items(standard)]
    return {field: [element.get(field, "") for element in elements] for field in _FIELDS}


def _items(header: str) -> list[str]:
    return [item for item in parse_http_list(header) if item]


def _parameters(element: str) -> dict[str, str]:
    """The parameters of one element of `Forwarded`."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _at(items: Sequence[str], hop: int) -> str:
    """What the proxy that saw the client says; a proxy that replaces a header leaves one item only."""
    return items[-min(hop, len(items))] if items else ""


def _address(text: str) -> str | None:
    """A numeric address, which may have a port; None for anything else, such as `unknown`."""
    found = parse_address(text)
    if found is None:
        try:
            found = parse_address(urlsplit(f"//{text}").hostname or "")
        except ValueError:
            return None
    return str(found) if found else None
