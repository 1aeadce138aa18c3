"""TLS 1.2 or newer from a pair of files, which may change while the server runs."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from time import monotonic

from appliance.errors import ConfigError, StoreError

LOOK_S = 2.0
"""How often the files are looked at, at most: with a new connection."""

Pair = tuple[str, str]
"""The files of certificate (with its chain) and key, PEM."""

_log = logging.getLogger("appliance.web")


class Tls:
    """The context for new connections; used by the listener's thread alone."""

    def __init__(self, pair: Callable[[], Pair], look_s: float = LOOK_S) -> None:
        """`pair` names the files, and may renew them; it is asked now and then."""
        self._pair, self._look_s = pair, look_s
        self._context: ssl.SSLContext | None = None
        self._stamps: tuple[object, ...] = ()
        self._look_at = 0.0

    def context(self) -> ssl.SSLContext:
        """The context of the newest pair that can be used; raises `ConfigError` when there never was one."""
        now = monotonic()
        if self._context is None or now >= self._look_at:
            self._look_at = now + self._look_s
            self._look()
        assert self._context is not None
        return self._context

    def _look(self) -> None:
        name = ""
        try:
            certificate, key = self._pair()
            name = certificate
            stamps = (certificate, key, *(_stamp(path) for path in (certificate, key)))
            if stamps == self._stamps:
                return
            self._stamps = stamps  # a pair that is no good is complained of once, not every other second
            renewed, self._context = self._context is not None, _made(certificate, key)
            if renewed:
                _log.info("the certificate was changed: new connections use %s as it is now", certificate)
        except (OSError, StoreError) as error:
            reason = f"certificate and key cannot be used: {error}"
            if self._context is None:
                raise ConfigError(reason, key="access.certificate", value=name) from error
            _log.error("%s; the one before stays in use", reason)


def _stamp(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_ino, found.st_size


def _made(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A ticket that arrives while another thread of the client writes makes threaded clients lose data.
    context.num_tickets = 0
    context.load_cert_chain(certificate, key, password=_no_password)
    return context


def _no_password() -> str:
    raise OSError("the key is encrypted; expected one without a passphrase, readable by this service only")
