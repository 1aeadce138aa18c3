"""The device's own certificate: made at the first start, renewed with the same key when it does not fit.

It is self-signed: browsers ask once whether to trust it. The key never changes, so a client that pinned the
public key accepts every renewal.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import StoreError
from appliance.system.addresses import parse_address
from appliance.system.files import write_private
from appliance.system.host_names import device_names
from appliance.system.interfaces import Address, own_addresses

VALID = timedelta(days=825)
"""Apple's devices refuse a longer validity."""

RENEW = timedelta(days=45)
"""It is renewed this long before its expiry."""

_BACK = timedelta(days=1)
_CLOCK_IS_SET = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""A board without a clock battery may start with an earlier date until the network corrects it."""

_MOST_ADDRESSES = 16
"""Earlier addresses stay certified up to this number."""

_UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")

_log = logging.getLogger("appliance.access")


class DeviceCertificate:
    """The certificate and its key, two files in the state directory."""

    def __init__(self, folder: Path, more_names: Collection[str] = ()) -> None:
        """`more_names`: lower-case names and numeric addresses to certify in addition to the device's own."""
        self._more_names = more_names
        self.certificate, self.key = folder / "tls-certificate.pem", folder / "tls-key.pem"

    def current(self, now: datetime | None = None) -> tuple[str, str]:
        """Paths of a valid certificate and its key, made or renewed if needed; raises `StoreError`."""
        now = now or datetime.now(timezone.utc)
        kept = self._kept()
        names, addresses = self._names_and_addresses()
        if kept is None or _is_due(kept, now) or not _certifies(kept, names, addresses):
            # So a device that moves between two networks is renewed once, not at each change.
            earlier = [] if kept is None else _certified_addresses(kept)
            listed = list(dict.fromkeys([*addresses, *earlier]))[: max(_MOST_ADDRESSES, len(addresses))]
            made = _make(self._private_key(), max(now, _CLOCK_IS_SET), names, listed)
            write_private(self.certificate, made.public_bytes(serialization.Encoding.PEM))
            _log.info(
                "%s certificate until %s, SHA-256 %s",
                "made a" if kept is None else "renewed the",
                made.not_valid_after_utc.date(),
                fingerprint(made),
            )
        return str(self.certificate), str(self.key)

    def fingerprint(self) -> str:
        """The SHA-256 fingerprint that browsers show; empty before the first start on the network."""
        kept = self._kept()
        return "" if kept is None else fingerprint(kept)

    def _names_and_addresses(self) -> tuple[list[str], list[Address]]:
        """What the certificate is for now."""
        names, addresses = device_names(), own_addresses()
        for name in self._more_names:
            address = parse_address(name)
            if address is None:
                names.append(name)
            else:
                addresses.append(address)
        return list(dict.fromkeys(names)), list(dict.fromkeys(addresses))

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
                f"{self.key} cannot be read ({error}); delete it for a new one, which browsers must trust"
            ) from error
        made = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        write_private(self.key, made.private_bytes(serialization.Encoding.PEM, *form))
        return made


def fingerprint(certificate: x509.Certificate) -> str:
    """The SHA-256 fingerprint, as browsers write it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether it expires soon, or begins later than now because the clock was ahead when it was made."""
    if now < _CLOCK_IS_SET:
        return False
    return not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc - RENEW


def _certifies(certificate: x509.Certificate, names: Iterable[str], addresses: Iterable[Address]) -> bool:
    known = _alternatives(certificate).get_values_for_type(x509.DNSName)
    followed = filter(_is_followed, addresses)
    return set(names) <= set(known) and set(followed) <= set(_certified_addresses(certificate))


def _is_followed(address: Address) -> bool:
    """Whether a new address like this renews the certificate.

    A provider may change the public IPv6 prefix every night: each change would make every browser ask again.
    """
    return address.version == 4 or address in _UNIQUE_LOCAL


def _certified_addresses(certificate: x509.Certificate) -> list[Address]:
    found = _alternatives(certificate).get_values_for_type(x509.IPAddress)
    return [each for each in found if isinstance(each, ipaddress.IPv4Address | ipaddress.IPv6Address)]


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def _make(
    key: ec.EllipticCurvePrivateKey, now: datetime, names: list[str], addresses: Iterable[Address]
) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Interview Grader"),
            x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64]),
        ]
    )
    alternatives: Iterable[x509.GeneralName] = [
        *(x509.DNSName(each) for each in names),
        *(x509.IPAddress(each) for each in addresses),
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
