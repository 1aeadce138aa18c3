"""The file `latest`: the newest bundles, how long this is valid, and a signature.

One line of JSON, then its OpenSSH signature, by a key that can sign nothing else. The device refuses a file
that is older than the last one it saw, or expired: this detects a replay or a freeze
(docs/decisions/0061-first-installation-and-latest.md).
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from device.bundle import signing
from device.bundle.container import VERSION
from device.errors import BundleError

NAME = "latest"
PURPOSE = signing.Purpose("interview-grader-latest", "latest", "the file `latest`")
MAX_BYTES = 64 << 10

_SCHEMA = 1
_BEGIN = b"-----BEGIN SSH SIGNATURE-----"
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_BUNDLE = re.compile(rf"interview-grader-({VERSION.pattern})-([a-z0-9_]+)-py(3\.\d{{1,3}})\.bundle")
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """One of the newest bundles. `sha256` in hexadecimal digits, `size` in bytes."""

    name: str
    sha256: str
    size: int

    @property
    def _parts(self) -> tuple[str, str, str]:
        found = _BUNDLE.fullmatch(self.name)
        if not found:
            raise BundleError(f"{self.name!r}: expected a name from `make release`")
        return found[1], found[2], found[3]

    @property
    def version(self) -> str:
        """Its release, such as 1.2.3."""
        return self._parts[0]

    @property
    def device(self) -> tuple[str, str]:
        """The machine and the version of Python that it is for, such as ("aarch64", "3.13")."""
        return self._parts[1:]

    def is_in(self, path: Path) -> bool:
        """Whether a file is this bundle; raises `OSError`."""
        return path.stat().st_size == self.size and _digest(path) == self.sha256


@dataclass(frozen=True)
class Latest:
    """The content of the file, valid from `created` to `expires`."""

    created: datetime
    expires: datetime
    bundles: tuple[Bundle, ...]

    def of(self, machine: str, python: str) -> Bundle | None:
        """The bundle for such a device."""
        return next((each for each in self.bundles if each.device == (machine, python)), None)


def build(paths: Sequence[Path], key: Path, now: datetime, days: int) -> bytes:
    """Build the file that names these bundles as the newest for `days` days; raises `BundleError`."""
    bundles = [Bundle(path.name, _digest(path), path.stat().st_size) for path in paths]
    devices = [each.device for each in bundles]
    if len(set(devices)) < len(devices):
        raise BundleError("two bundles for one kind of device: expected only the newest")
    data = {
        "schema": _SCHEMA,
        "created": now.strftime(_TIME),
        "expires": (now + timedelta(days=days)).strftime(_TIME),
        "bundles": [asdict(each) for each in bundles],
    }
    line = json.dumps(data, sort_keys=True).encode() + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, NAME)
        file.write_bytes(line)
        return line + signing.sign(file, key, PURPOSE)


def read(content: bytes, signers: Path) -> Latest:
    """Verify the signature of a file and return its content; raises `BundleError`.

    The caller checks the expiry.
    """
    line, begin, rest = content.partition(_BEGIN)
    if not begin:
        raise BundleError("not signed: expected a file from `make latest`")
    with tempfile.TemporaryFile() as file:
        file.write(line)
        file.flush()
        signing.verify(file, begin + rest, signers, PURPOSE)
    try:
        data = json.loads(line)
        if data["schema"] != _SCHEMA:
            raise ValueError(f"schema {data['schema']!r}: expected {_SCHEMA}; update once by hand")
        bundles = tuple(
            Bundle(str(each["name"]), str(each["sha256"]), int(each["size"])) for each in data["bundles"]
        )
        for each in bundles:
            _ = each.device
        return Latest(parse_time(data["created"]), parse_time(data["expires"]), bundles)
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"signed, but malformed ({error}); make it again: make latest") from error


def parse_time(text: str) -> datetime:
    """A time of the file, in UTC; raises `ValueError`."""
    return datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc)


def format_time(when: datetime) -> str:
    """A time as `parse_time` reads it."""
    return when.strftime(_TIME)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
    return digest.hexdigest()
