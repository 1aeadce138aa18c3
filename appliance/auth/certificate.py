"""The device's own certificate: made at the first start, renewed before it expires, always with one key.

It is self-signed: browsers ask once whether to trust it. The key never changes, so a client that pinned the
public key accepts every renewal.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import StoreError
from appliance.system.files import write_private

VALID = timedelta(days=825)
"""Apple's devices refuse longer validity."""

RENEW = timedelta(days=45)
"""It is renewed this long before it expires."""

_BACK = timedelta(days=1)
_CLOCK_IS_SET = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""A board without a battery has an earlier date until the network corrects it."""

_log = logging.getLogger("appliance.access")


class DeviceCertificate:
    """The certificate and its key, two files in the state directory."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls-certificate.pem", folder / "tls-key.pem"

    def current(self, now: datetime | None = None) -> tuple[str, str]:
        """Paths of a valid certificate and its key, made or renewed when needed; raises `StoreError`."""
        now = now or datetime.now(timezone.utc)
        kept = self._kept()
        if kept is None or _is_due(kept, now) or not _has_names(kept):
            made = _make(self._private_key(), max(now, _CLOCK_IS_SET))
            write_private(self.certificate, made.public_bytes(serialization.Encoding.PEM))
            _log.info(
                "%s certificate until %s, SHA-256 %s",
                "made a" if kept is None else "renewed the",
                made.not_valid_after_utc.date(),
                fingerprint(made),
            )
        return str(self.certificate), str(self.key)

    def fingerprint(self) -> str:
        """The SHA-256 fingerprint that browsers show; empty before the first start."""
        kept = self._kept()
        return "" if kept is None else fingerprint(kept)

    def _kept(self) -> x509.Certificate | None:
        try:
            found = x509.load_pem_x509_certificate(self.certificate.read_bytes())
            own = self._private_key().public_key()
        except (OSError, ValueError):
            return None
        return found if found.public_key() == own else None

    def _private_key(self) -> ec.EllipticCurvePrivateKey:
        try:
            found = serialization.load_pem_private_key(self.key.read_bytes(), password=None)
            if isinstance(found, ec.EllipticCurvePrivateKey):
                return found
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{self.key} cannot be read ({error}); delete it, and browsers must trust a new one"
            ) from error
        made = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        write_private(self.key, made.private_bytes(serialization.Encoding.PEM, *form))
        return made


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 as browsers write it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def own_names() -> list[str]:
    """The host names of this device."""
    host = socket.gethostname().lower().partition(".")[0]
    names = [host, f"{host}.local", "interview-grader.local", "localhost"]
    return [name for name in dict.fromkeys(names) if name.isascii() and name.strip("-")]


def own_addresses() -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of this device, loopback included, as far as they can be determined."""
    found = {"127.0.0.1", "::1"}
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((far, 9))  # sends nothing: the kernel chooses the route, and with it the address
            found.add(str(sock.getsockname()[0]))
    with contextlib.suppress(OSError):
        found |= {str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None)}
    return [ipaddress.ip_address(text) for text in sorted(found) if "%" not in text]


def _is_due(certificate: x509.Certificate, now: datetime) -> bool:
    return now > certificate.not_valid_after_utc - RENEW


def _has_names(certificate: x509.Certificate) -> bool:
    # Changed addresses do not matter: a new certificate for each would make every browser ask again.
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(own_names()) <= set(names.get_values_for_type(x509.DNSName))


def _make(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Interview Grader"),
            x509.NameAttribute(NameOID.COMMON_NAME, own_names()[0][:64]),
        ]
    )
    alternatives: Iterable[x509.GeneralName] = [
        *(x509.DNSName(each) for each in own_names()),
        *(x509.IPAddress(each) for each in own_addresses()),
    ]
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(os.urandom(16), "big") >> 1)
        .not_valid_before(now - _BACK)
        .not_valid_after(now - _BACK + VALID)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
