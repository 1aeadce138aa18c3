"""TLS 1.2 or newer with certificate and key from files, which may change while the server runs."""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import Callable
from time import monotonic

from appliance.errors import ConfigError, StoreError

CHECK_S = 2.0
"""Shortest time between two checks of the files for changes, in seconds; new connections trigger them."""

_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Only suites with authenticated encryption, not CBC; those of TLS 1.3 all have it."""

CertificateFiles = tuple[str, str]
"""The PEM files of the certificate, with its chain, and of the key."""

_log = logging.getLogger("appliance.web")


class ReloadingTls:
    """The TLS context of new connections, renewed when the files change. Safe between threads."""

    def __init__(self, files: Callable[[], CertificateFiles], check_s: float = CHECK_S) -> None:
        """`files` returns the files and may renew them; it is called at most every `check_s` seconds."""
        self._files, self._check_s = files, check_s
        self._context: ssl.SSLContext | None = None
        self._stamps: tuple[object, ...] = ()
        self._check_at = 0.0
        self._lock = threading.Lock()

    @property
    def ready(self) -> ssl.SSLContext | None:
        """The context, if it needs no check of the files, which may wait for the disk."""
        return self._context if monotonic() < self._check_at else None

    def context(self) -> ssl.SSLContext:
        """The context of the newest usable files; raises `ConfigError` if none were ever usable."""
        with self._lock:
            now = monotonic()
            if self._context is None or now >= self._check_at:
                self._check_at = now + self._check_s
                self._reload_if_changed()
            assert self._context is not None
            return self._context

    def _reload_if_changed(self) -> None:
        name = ""
        try:
            certificate, key = self._files()
            name = certificate
            stamps = (certificate, key, *(_stamp(path) for path in (certificate, key)))
            if stamps == self._stamps:
                return
            self._stamps = stamps  # log unusable files once, not at every check
            renewed, self._context = self._context is not None, _make_context(certificate, key)
            if renewed:
                _log.info("the certificate was changed; new connections use the new %s", certificate)
        except (OSError, StoreError) as error:
            reason = f"certificate and key cannot be used: {error}"
            if self._context is None:
                raise ConfigError(reason, key="access.certificate", value=name) from error
            _log.error("%s; the previous one stays in use", reason)


def _stamp(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_ino, found.st_size


def _make_context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS12_CIPHERS)
    # A session ticket that arrives while another thread of a client writes makes the client lose data. In
    # TLS 1.2, which sends it earlier, the key that encrypts tickets would undo forward secrecy.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    context.load_cert_chain(certificate, key, password=_refuse_passphrase)
    return context


def _refuse_passphrase() -> str:
    raise OSError("the key is encrypted; expected one without a passphrase, readable by this service only")
