"""Remote clients without a network: a real TLS server that sees a documentation address for each client."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from appliance.auth.certificate import DeviceCertificate
from appliance.web.pages.pictures import MAX_REQUEST_BYTES
from appliance.web.transport.server import Server, WsgiApp
from tests.e2e.daemon.driver import Answer
from tests.fakes.web import served

FAR = "192.0.2.77"
"""An address for documentation (RFC 5737)."""
WITHIN_S = 15.0

COOKIE = "__Host-interview-grader"
FORM = "application/x-www-form-urlencoded"


def from_far(app: WsgiApp, address: str = FAR) -> WsgiApp:
    """The application, for clients with this address."""

    def moved(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return app({**environ, "REMOTE_ADDR": address}, start_response)

    return moved


@contextmanager
def served_far(app: WsgiApp, folder: Path, *, address: str = FAR, **settings: Any) -> Iterator[Server]:
    """A real TLS server on a free port; its certificate is in `folder`."""
    settings = {"max_connections": 16, "max_large_body_bytes": MAX_REQUEST_BYTES, **settings}
    server = Server(from_far(app, address), "127.0.0.1", 0, tls=DeviceCertificate(folder).current, **settings)
    with served(server):
        yield server


@dataclass
class Client:
    """A headless browser: keeps its cookie, and trusts only the device's certificate."""

    port: int
    folder: Path
    address: str = "127.0.0.1"
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    source: str = ""
    """Its own loopback address; empty: the kernel chooses."""
    cookie_name: str = COOKIE

    @property
    def origin(self) -> str:
        return f"https://{self.address}:{self.port}"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "tls-certificate.pem"))

    def connect(self) -> http.client.HTTPSConnection:
        source = (self.source, 0) if self.source else None
        return http.client.HTTPSConnection(
            self.address, self.port, timeout=WITHIN_S, context=self.context(), source_address=source
        )

    def request(
        self,
        path: str,
        method: str = "GET",
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        whole: bool = True,
    ) -> Answer:
        connection = self.connect()
        own = {"Cookie": f"{self.cookie_name}={self.cookie}"} if self.cookie else {}
        # If it stayed open, its end would occupy a thread of the server after the test.
        own["Connection"] = "close"
        try:
            connection.request(method, path, body, {**own, **self.headers, **(headers or {})})
            answer = connection.getresponse()
            self._keep(answer.headers)
            found = Answer(answer.status, answer.headers, answer.read() if whole else b"")
            if headers and "Upgrade" in headers and answer.status != 101:
                answer.read()  # a refused handshake cannot ask to be closed; a request after it can
                connection.request("GET", "/healthz", headers={"Connection": "close"})
                connection.getresponse().read()
            return found
        finally:
            connection.close()

    def submit(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
        """Post a form, as a browser sends it."""
        sent = {"Content-Type": FORM, "Origin": self.origin, **(headers or {})}
        return self.request(path, "POST", body=urlencode(fields).encode(), headers=sent)

    def post_json(self, path: str, content: object, headers: dict[str, str] | None = None) -> Answer:
        sent = {"Content-Type": "application/json", **(headers or {})}
        return self.request(path, "POST", body=json.dumps(content).encode(), headers=sent)

    def log_in(self, name: str, password: str) -> Answer:
        return self.submit("/login", {"name": name, "password": password})

    def token(self, path: str = "/") -> str:
        """The CSRF token in the pages of this login."""
        found = re.search(r'csrf-token" content="([0-9a-f]{64})"', self.request(path).text)
        assert found, "no token in the page"
        return found[1]

    def _keep(self, headers: http.client.HTTPMessage) -> None:
        for text in headers.get_all("Set-Cookie") or []:
            name, _, value = text.partition(";")[0].partition("=")
            if name == self.cookie_name:
                self.cookie = value
