"""Looks whether there is a newer release, and says so in the log. It fetches no bundle and installs nothing.

Where to look is the owner's one line in /etc/interview-grader/update-from: a folder with bundles, or the
https address of a text file that has the name of the newest bundle in its first line.
"""

from __future__ import annotations

import re
import sys
import urllib.request
from pathlib import Path

from device.bundle import VERSION
from device.faults import DeviceError, Refused
from device.places import Places
from device.releases import Releases, order

PROGRAM = "interview-grader-look"
_BUNDLE = re.compile(rf"interview-grader-({VERSION.pattern})-[a-z0-9_]+-py3\.\d+\.bundle")
_HIDDEN = ("home", "root", "run/user", "tmp", "var/tmp")
"""What systemd hides from services such as this one."""
_TIMEOUT_S, _MAX_BYTES = 30, 1000


def main(places: Places | None = None) -> int:
    """Returns the exit code: 0 looked, 1 the place does not answer, 2 no place to look at."""
    places = places or Places()
    try:
        print(look(places), flush=True)
        return 0
    except DeviceError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.code


def look(places: Places) -> str:
    """What there is, in words; raises `DeviceError`."""
    place = _place(places)
    found = [match for name in _names(place) if (match := _BUNDLE.fullmatch(name))]
    if not found:
        return f"no bundle is named at {place}"
    newest = max(found, key=lambda match: order(match.group(1)))
    now = Releases(places.opt).current() or "nothing"
    if order(newest.group(1)) <= order(now):
        return f"{now} is the newest release at {place}"
    version, name = newest.group(1), newest.group()
    return f"release {version} is at {place}, {now} is installed: interview-grader-update {name}"


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


def _names(place: str) -> list[str]:
    try:
        if place.startswith("/"):
            return [path.name for path in Path(place).iterdir()]
        with urllib.request.urlopen(place, timeout=_TIMEOUT_S) as answer:
            return [str(answer.read(_MAX_BYTES), "utf-8", "replace").partition("\n")[0].strip()]
    except OSError as error:
        raise DeviceError(f"{place} cannot be looked at: {error}") from error
