"""Looks whether there is a newer release, and says so in the log. It fetches no bundle and installs nothing.

Where to look is the owner's one line in /etc/interview-grader/update-from: a folder with bundles and the file
`latest`, or the https address of such a file. What it says counts only as long as latest.py tells.
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
from device.errors import BundleError, DeviceError, Refused
from device.layout import Places
from device.text import printable
from device.update.releases import Releases, order

PROGRAM = "interview-grader-look"
SEEN = "seen.json"
"""File in the state of the service that looks: when the newest file `latest` that it saw was made."""

_HIDDEN = ("home", "root", "run/user", "tmp", "var/tmp")
"""What systemd hides from services such as this one."""
_TIMEOUT_S = 30
_CLOCK = timedelta(days=1)
"""How far the clock of the file's maker may be ahead, in seconds."""


def main(places: Places | None = None) -> int:
    """Returns the exit code: 0 looked, 1 what was found is not to be believed, 2 no place to look at."""
    places = places or Places()
    state = Path(os.environ.get("STATE_DIRECTORY") or places.look_state)
    try:
        print(printable(look(places, state, datetime.now(timezone.utc))), flush=True)
        return 0
    except DeviceError as error:
        print(f"{PROGRAM}: {printable(str(error))}", file=sys.stderr)
        return error.code


def look(places: Places, state: Path, now: datetime) -> str:
    """What there is, in words; raises `DeviceError`."""
    place = _place(places)
    said = _believed(place, places, state, now)
    releases = Releases(places.opt)
    current = releases.current()
    if current is None:
        raise Refused(f"{releases.link}: nothing is installed; sudo ./setup.sh install")
    own = releases.note(current)
    until = f"said until {latest.written(said.expires)}"
    bundle = said.of(own.arch, own.python)
    if bundle is None:
        return f"no bundle for {own.arch} and Python {own.python} is named at {place}, {until}"
    if order(bundle.version) <= order(current):
        return f"{current} is the newest release at {place}, {until}"
    if place.startswith("/"):
        _check(Path(place, bundle.name), bundle)
    installs = f"interview-grader-update {bundle.name} (SHA-256 {bundle.sha256})"
    return f"release {bundle.version} is at {place}, {current} is installed: {installs}"


def _check(path: Path, bundle: latest.Bundle) -> None:
    try:
        if bundle.is_in(path):
            return
    except OSError as error:
        raise DeviceError(f"{path}: {error.strerror}, though `latest` names it; copy it there") from error
    raise DeviceError(f"{path} is not the bundle that `latest` names; copy it there again")


def _place(places: Places) -> str:
    path = places.config / "update-from"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}; expected a folder or an https address in it") from error
    place = lines[0].strip()
    if not place.startswith(("https://", "/")):
        raise Refused(f"{path}: {place!r}: expected a folder or an https address")
    if any(Path(place).is_relative_to(places.root / each) for each in _HIDDEN):
        reason = "hidden from the service that looks, as all homes; take another, such as /srv/releases"
        raise Refused(f"{path}: {place}: {reason}")
    return place


def _believed(place: str, places: Places, state: Path, now: datetime) -> Latest:
    """What is said there, if it is signed, no older than what was said before, and its time is not over."""
    try:
        said = latest.read(_content(place), places.signers)
    except BundleError as error:
        raise DeviceError(f"{place}: {error}") from error
    made, seen = latest.written(said.created), _seen(state)
    if said.created > now + _CLOCK:
        raise DeviceError(
            f"{place}: made {made}, and this device's clock is at {latest.written(now)}: set it"
        )
    if seen and said.created < seen:
        raise DeviceError(
            f"{place}: made {made}, and one of {latest.written(seen)} was there before: "
            "this may be a replay; ask the maker of the releases"
        )
    _keep(state, said.created)
    if said.expires < now:
        raise DeviceError(
            f"{place}: nothing newer than {made} is said there, which was to count until "
            f"{latest.written(said.expires)}: whether there is a newer release is not known; "
            "ask who makes the releases (make latest)"
        )
    return said


def _content(place: str) -> bytes:
    try:
        if place.startswith("/"):
            with Path(place, latest.NAME).open("rb") as file:
                return file.read(latest.MAX_BYTES)
        with urllib.request.urlopen(place, timeout=_TIMEOUT_S) as answer:
            return bytes(answer.read(latest.MAX_BYTES))
    except (OSError, ValueError) as error:
        raise DeviceError(f"{place} cannot be looked at: {error}") from error


def _seen(state: Path) -> datetime | None:
    try:
        return latest.moment(json.loads((state / SEEN).read_text(encoding="utf-8"))["created"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(state: Path, created: datetime) -> None:
    file, partial = state / SEEN, state / f"{SEEN}.part"
    if _seen(state) == created:
        return
    try:
        with partial.open("w", encoding="utf-8") as stream:
            json.dump({"created": latest.written(created)}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except OSError as error:
        raise DeviceError(
            f"{file}: cannot be written: {error.strerror}; correct that and look again"
        ) from error
