"""`interview-grader status`: what the running daemon reports about itself on this device.

The service's user, and root on an installed device, see everything, because they can read the local token.
Other users see what the daemon reports to everyone.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import ValidationError

from appliance.auth.local_token import TOKEN_FILE, URL_FILE
from appliance.web.api.device_status import HEALTHY, DeviceHealth, DeviceStatus

if TYPE_CHECKING:
    from appliance.configuration.load import Config

_TIMEOUT_S = 5.0
_MAX_BYTES = 1 << 20


def device_status(state_dir: Path, load: Callable[[], Config]) -> DeviceStatus:
    """The status of the daemon that keeps its state in `state_dir`.

    `load` loads the configuration, which has the address in case the state cannot be read.
    """
    url = _read(state_dir / URL_FILE) or _configured_url(load())
    token = _read(state_dir / TOKEN_FILE)
    address = _loopback_address(url)
    if address is None:
        reason = f"not checked: the daemon listens only on {url}"
        return DeviceStatus(running=None, health=DeviceHealth(status="unknown", reason=reason), address=url)
    daemon = _Daemon(url, address)
    try:
        return _ask(daemon, token, url)
    except ConnectionRefusedError:
        return _down(f"nothing answers at {url}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _down(f"{url} does not answer as expected: {error}")


def is_healthy(status: DeviceStatus) -> bool:
    """Whether the daemon answers and reports no problem."""
    return bool(status.running) and status.health.status in HEALTHY


def lines(status: DeviceStatus) -> Iterator[str]:
    """The status for an owner, line by line."""
    why = f": {status.health.reason}" if status.health.reason else ""
    yield f"{'health':<12} {status.health.status}{why}"
    shown = {
        "session": status.state,
        "storage": status.storage.reason or status.storage.state if status.storage else None,
        "address": status.address,
        "first code": status.first_code,
        "certificate": status.certificate_sha256 and f"SHA-256 {status.certificate_sha256}",
        "engine": status.engine,
        "lamps": None if status.lamps is None else "present" if status.lamps else "none",
        "version": status.version,
    }
    for name, value in shown.items():
        if value is not None:
            yield f"{name:<12} {value}"
    if status.running and status.state is None:
        yield "run it with sudo, or as the service's user, to see more"


class _Daemon:
    """Asks the daemon on this device. Its certificate needs no check: no one is in between."""

    def __init__(self, url: str, address: str) -> None:
        parts = urlsplit(url)
        self._address, self._port, self._is_encrypted = address, parts.port or 0, parts.scheme == "https"
        self.certificate_sha256: str | None = None

    def get(self, path: str, token: str = "") -> tuple[int, object]:
        """HTTP status and JSON body of an answer; raises `OSError`, `ValueError` or `HTTPException`."""
        connection = self._connection()
        try:
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                certificate = connection.sock.getpeercert(binary_form=True) or b""
                self.certificate_sha256 = hashlib.sha256(certificate).digest().hex(":").upper()
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request("GET", path, headers={"Connection": "close", **headers})
            answer = connection.getresponse()
            body = answer.read(_MAX_BYTES + 1)
            if len(body) > _MAX_BYTES:
                raise ValueError("the answer is too long")
            return answer.status, json.loads(body)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        source = _own_source() if "." in self._address else None
        if not self._is_encrypted:
            return http.client.HTTPConnection(
                self._address, self._port, timeout=_TIMEOUT_S, source_address=source
            )
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(
            self._address, self._port, timeout=_TIMEOUT_S, source_address=source, context=context
        )


def _ask(daemon: _Daemon, token: str, url: str) -> DeviceStatus:
    if token:
        code, body = daemon.get("/api/status", token)
        if code == http.HTTPStatus.OK:
            try:
                status = DeviceStatus.model_validate(body)
            except ValidationError as error:
                raise ValueError(f"/api/status: {error.errors()[0]['msg']}") from error
            return status.model_copy(update={"certificate_sha256": daemon.certificate_sha256})
    _, body = daemon.get("/healthz")
    try:
        health = DeviceHealth.model_validate(body)
    except ValidationError as error:
        raise ValueError(f"/healthz: {error.errors()[0]['msg']}") from error
    return DeviceStatus(
        running=True, health=health, address=url, certificate_sha256=daemon.certificate_sha256
    )


def _down(reason: str) -> DeviceStatus:
    return DeviceStatus(running=False, health=DeviceHealth(status="down", reason=reason))


def _read(path: Path) -> str:
    """A file of the daemon, "" if it is missing or this user cannot read it."""
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def _configured_url(config: Config) -> str:
    host = "localhost" if config.web.host in ("0.0.0.0", "::") else config.web.host
    is_encrypted = bool(config.access.certificate) or config.needs_tls
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if is_encrypted else 'http'}://{host}:{config.web.port}/"


def _loopback_address(url: str) -> str | None:
    """The address to connect to; None for one outside this device, and for a name, which is not resolved."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return "127.0.0.1"
    try:
        return host if ipaddress.ip_address(host).is_loopback else None
    except ValueError:
        return None


def _own_source() -> tuple[str, int]:
    """A loopback address that no other user knows: the daemon limits connections per address."""
    return "127.{}.{}.{}".format(*os.urandom(2), 2 + os.urandom(1)[0] % 250), 0
