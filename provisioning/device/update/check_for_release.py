"""Checks for a newer release and logs the result. Fetches no bundle and installs nothing.

The owner's file /etc/interview-grader/update-from names the location in one line: a folder with bundles and
the file `latest`, or the https address of such a file. latest.py says how long such a file is valid.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

from device.bundle import latest
from device.bundle.latest import Latest
from device.errors import BundleError, DeviceError, UserError
from device.layout import Layout
from device.text import printable
from device.update.releases import Releases, version_key

PROGRAM = "interview-grader-look"
SEEN_FILE = "seen.json"
"""File with the time at which the newest `latest` seen so far was made."""

_HIDDEN = ("home", "root", "run/user", "tmp", "var/tmp")
"""Folders that systemd hides from this service."""
_TIMEOUT_S = 30
_CLOCK = timedelta(days=1)
"""How far the clock of the file's maker may be ahead."""


def main(layout: Layout | None = None) -> int:
    """Returns the exit code: 0 checked, 1 the file is untrusted or unreadable, 2 no valid location is set."""
    layout = layout or Layout()
    state = Path(os.environ.get("STATE_DIRECTORY") or layout.check_state)
    try:
        print(printable(check(layout, state, datetime.now(timezone.utc))), flush=True)
        return 0
    except DeviceError as error:
        print(f"{PROGRAM}: {printable(str(error))}", file=sys.stderr)
        return error.code


def check(layout: Layout, state: Path, now: datetime) -> str:
    """Compare the newest release with the installed one; returns a message. Raises `DeviceError`."""
    location = _location(layout)
    found = _read_latest(location, layout, state, now)
    releases = Releases(layout.opt)
    current = releases.current()
    if current is None:
        raise UserError(f"{releases.link}: nothing is installed; sudo ./setup.sh install")
    own = releases.metadata(current)
    until = f"valid until {latest.format_time(found.expires)}"
    bundle = found.of(own.arch, own.python)
    if bundle is None:
        return f"{location} lists no bundle for {own.arch} and Python {own.python}, {until}"
    if version_key(bundle.version) <= version_key(current):
        return f"{current} is the newest release at {location}, {until}"
    if location.startswith("/"):
        _check_bundle(Path(location, bundle.name), bundle)
    installs = f"interview-grader-update {bundle.name} (SHA-256 {bundle.sha256})"
    return f"release {bundle.version} is available at {location}, {current} is installed: {installs}"


def _check_bundle(path: Path, bundle: latest.Bundle) -> None:
    try:
        if bundle.is_in(path):
            return
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}, but `latest` lists it; copy it there") from error
    raise DeviceError(f"{path} is not the bundle that `latest` lists; copy it there again")


def _location(layout: Layout) -> str:
    path = layout.config / "update-from"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a folder or an https address in it") from error
    location = lines[0].strip()
    if not location.startswith(("https://", "/")):
        raise UserError(f"{path}: {location!r}: expected a folder or an https address")
    if any(Path(location).is_relative_to(layout.root / each) for each in _HIDDEN):
        reason = "the service that checks cannot see this folder; use another, such as /srv/releases"
        raise UserError(f"{path}: {location}: {reason}")
    return location


def _read_latest(location: str, layout: Layout, state: Path, now: datetime) -> Latest:
    """The file `latest` there, if it is signed, no older than the last one seen, and not expired."""
    try:
        found = latest.read(_fetch(location), layout.signers)
    except BundleError as error:
        raise DeviceError(f"{location}: {error}") from error
    made, seen = latest.format_time(found.created), _last_seen(state)
    if found.created > now + _CLOCK:
        raise DeviceError(
            f"{location}: made {made}, but this device's clock is at {latest.format_time(now)}; set the clock"
        )
    if seen and found.created < seen:
        raise DeviceError(
            f"{location}: made {made}, but one of {latest.format_time(seen)} was seen before: "
            "this may be a replay; ask the maker of the releases"
        )
    _remember(state, found.created)
    if found.expires < now:
        raise DeviceError(
            f"{location}: `latest` has expired: made {made}, valid until "
            f"{latest.format_time(found.expires)}; a newer release may exist; ask the maker of the releases "
            "for a new file (make latest)"
        )
    return found


def _fetch(location: str) -> bytes:
    try:
        if location.startswith("/"):
            with Path(location, latest.NAME).open("rb") as file:
                return file.read(latest.MAX_BYTES)
        with urllib.request.urlopen(location, timeout=_TIMEOUT_S) as answer:
            return bytes(answer.read(latest.MAX_BYTES))
    except (OSError, ValueError) as error:
        raise DeviceError(f"{location}: cannot be read: {error}") from error


def _last_seen(state: Path) -> datetime | None:
    try:
        return latest.parse_time(json.loads((state / SEEN_FILE).read_text(encoding="utf-8"))["created"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(state: Path, created: datetime) -> None:
    file, partial = state / SEEN_FILE, state / f"{SEEN_FILE}.part"
    if _last_seen(state) == created:
        return
    try:
        with partial.open("w", encoding="utf-8") as stream:
            json.dump({"created": latest.format_time(created)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except OSError as error:
        raise DeviceError(
            f"{file}: cannot be written: {error.strerror}; correct that and try again"
        ) from error
