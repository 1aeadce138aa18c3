"""The audit log: who did what and when, append-only, each line chained to the one before by its hash.

`audit.jsonl` has one JSON object a line: `n` (from 1 up), `time` (UTC), `event`, `who`, details, `hash`. The
hash is the SHA-256 of the previous hash and of the line without its hash. `audit.head` holds the number and
the hash of the last line, so that lines missing at the end are detected, even after others were added: the
next line has the number of `lost` lines. A full file becomes `audit.old.jsonl`; the first line of the next
file continues the chain, with the previous hash in `after`. The log contains nothing that was read from a
face.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from appliance.errors import StoreError
from appliance.system.files import PRIVATE, sync_directory, write_private

log = logging.getLogger("appliance.audit")

EVENTS = {
    "agreement": "people consented to a notice: its version and hash, and how many; with `again`: confirmed",
    "start": "analysis began",
    "stop": "analysis ended",
    "aiming": "a blurred preview was shown before consent",
    "camera": "a browser was the camera of a session, once for each",
    "pause": "the camera was closed, and consent kept",
    "resume": "the camera was opened again after a pause",
    "record": "recording began",
    "withdraw": "a person withdrew: the session ended and its rows were erased",
    "erase": "a session was erased",
    "export": "a session was exported",
    "backup": "a backup was made or restored",
    "viewer": "a viewer saw the picture or the readings of a session, once for each",
    "webcam": "a client began or ended to send pictures of people who consented",
    "picture": "a program sent pictures of people who consented, once an hour for each",
    "login": "a user logged in",
    "login_failed": "a login was refused",
    "logout": "a user logged out",
    "access": "a password, an account or a token was created, changed or revoked",
    "settings": "a setting was changed, on the page or before this start",
    "update": "the software was updated or rolled back",
    "storage": "old records were erased, damaged ones were set aside, or records could not be written",
}
"""Every event and its meaning."""

MOST_BYTES = 32 * 2**20
"""A log file is rotated at this size, which deletes the file rotated before."""

_START = "0" * 64
_TAIL_BYTES = 65536  # a line is far shorter


@dataclass(frozen=True)
class Verification:
    """The result of `verify`: the number of valid lines, and the first fault, empty if there is none.

    `torn` counts lines that a power cut left unfinished; the next entry has their length in bytes. `last` is
    the hash of the last line: a copy kept elsewhere proves later that everything up to it is still present.
    """

    lines: int
    fault: str = ""
    torn: int = 0
    last: str = ""


class AuditLog:
    """Appends events; safe for threads and processes. Creates its folder if needed."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self.path, self._head = folder / "audit.jsonl", folder / "audit.head"
        self._lock = threading.Lock()

    @property
    def _old(self) -> Path:
        """The previous file; earlier files are deleted."""
        return self.path.with_name("audit.old.jsonl")

    def require(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Append one event and sync it to the disk; raises `StoreError` if it cannot be written.

        `who`: "operator", "viewer", "loopback", "button", "timer", "shell", "link" or a name prefixed with
        its kind, such as "token:backup". Raises `ValueError` for an event that is not in `EVENTS`.
        """
        if event not in EVENTS:
            raise ValueError(f"event {event!r}: expected one of {', '.join(EVENTS)}")
        try:
            with self._lock, self._opened() as file:
                last, torn = _last_line(file)
                entry = {"n": _number(last) + 1, "time": _now(), "event": event, "who": who, **details}
                if not last and (before := self._last_of_old()):
                    last = before
                    entry["n"], entry["after"] = _number(last) + 1, last["hash"]
                if torn and not _parsed(torn):  # otherwise only the line's newline is missing
                    entry["after_torn_bytes"] = len(torn)
                if lost := self._lost(last):
                    entry["lost"] = lost
                entry["hash"] = _chained(last.get("hash", _START), entry)
                file.write(b"\n" * bool(torn) + _line(entry))
                file.flush()
                os.fsync(file.fileno())
                write_private(self._head, _line({"n": entry["n"], "hash": entry["hash"]}))
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"{self.path}: the audit log cannot be written ({error.strerror}); "
                "free some space or correct its permissions"
            ) from error

    def record(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Append one event if possible: if it cannot be written, it is logged as an error."""
        try:
            self.require(event, who, **details)
        except StoreError as error:
            log.error("%s by %s is missing from the audit log: %s", event, who, error)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every valid line, oldest first; none before the first event. Safe while others write."""
        with self._snapshot() as found:
            for _path, line in found.lines():
                entry = _parsed(line)
                if entry:
                    yield entry

    def verify(self) -> Verification:
        """Check that every line is as it was written and none is missing. Safe while others write."""
        with self._snapshot() as found:
            return self._verify(found)

    def _verify(self, found: _Snapshot) -> Verification:
        if not found.files:
            return Verification(0, "the log is missing" if found.head is not None else "")
        before, number, torn, unfinished = _START, 0, 0, 0
        for path, line in found.lines():
            entry = _parsed(line)
            if entry is None:
                unfinished = len(line)
                continue
            written = entry.pop("hash")
            if not number and "after" in entry:  # older files are deleted, but the previous one never is
                if path == self.path:
                    return Verification(
                        0, f"{self._old.name} is missing, with the lines before line {entry['n']}"
                    )
                before, number = str(entry["after"]), _number(entry) - 1
            if unfinished != entry.get("after_torn_bytes", 0):
                return Verification(
                    number, f"after line {number}: a damaged line, not caused by a power cut", torn
                )
            if entry.get("n") != number + 1 or written != _chained(before, entry):
                return Verification(
                    number, f"line {number + 1} was changed, or lines before it are missing", torn
                )
            if entry.get("lost"):
                return Verification(
                    number, f"{entry['lost']} lines before line {number + 1} are missing", torn
                )
            torn += bool(unfinished)
            before, number, unfinished = written, number + 1, 0
        last = before if number else ""
        return Verification(
            number, _missing(_parsed(found.head or b""), number, before), torn + bool(unfinished), last
        )

    def _lost(self, last: dict[str, Any]) -> int | str:
        """How many lines are missing at the end, as far as the head shows; 0 for none."""
        head = self._known_head()
        if head is None:  # a power cut may leave the first line without a head
            return "some" if _number(last) > 1 else 0
        missing = _number(head) - _number(last)
        other = missing == 0 and bool(last) and head["hash"] != last["hash"]
        return 1 if other else max(0, missing)

    def _known_head(self) -> dict[str, Any] | None:
        """Number and hash of the last line that was written; None without a valid head."""
        return _parsed(self._head_now() or b"")

    def _head_now(self) -> bytes | None:
        try:
            return self._head.read_bytes()
        except FileNotFoundError:
            return None

    @contextmanager
    def _snapshot(self) -> Iterator[_Snapshot]:
        """Both files and the head at one moment; the lock is held only for that moment.

        Later lines are appended to the same file, even if it is rotated meanwhile.
        """
        while True:
            with ExitStack() as opened:
                new = _opened_if_there(self.path, opened)
                if new:
                    fcntl.flock(new, fcntl.LOCK_SH)
                old = _opened_if_there(self._old, opened)
                files = [
                    (path, file, os.fstat(file.fileno()).st_size)
                    for path, file in ((self._old, old), (self.path, new))
                    if file
                ]
                found = _Snapshot(files, self._head_now())
                if not (_is_still(self.path, new) and _is_still(self._old, old)):
                    continue  # it has just been rotated
                if new:
                    fcntl.flock(new, fcntl.LOCK_UN)
                yield found
                return

    def _last_of_old(self) -> dict[str, Any]:
        with suppress(FileNotFoundError), self._old.open("rb") as file:
            return _last_line(file)[0]
        return {}

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The file to append to, under a lock; a full file is rotated first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                found = os.fstat(descriptor)
                if not self.path.exists() or self.path.stat().st_ino != found.st_ino:
                    continue  # another process has just rotated it
                if found.st_size < self.most_bytes:
                    yield file
                    return
                self.path.replace(self._old)
                sync_directory(self.path.parent)


@dataclass(frozen=True)
class _Snapshot:
    """A log at one moment: its files, oldest first, with the size of each in bytes, and its head."""

    files: list[tuple[Path, BinaryIO, int]]
    head: bytes | None

    def lines(self) -> Iterator[tuple[Path, bytes]]:
        """Each line, oldest first, with its file."""
        for path, file, size in self.files:
            while file.tell() < size:
                yield path, file.readline().rstrip(b"\n")


def _opened_if_there(path: Path, opened: ExitStack) -> BinaryIO | None:
    with suppress(FileNotFoundError):
        return opened.enter_context(path.open("rb"))
    return None


def _is_still(path: Path, file: BinaryIO | None) -> bool:
    """Whether `path` is still this file, or still missing."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return file is None
    return file is not None and os.path.samestat(found, os.fstat(file.fileno()))


def _missing(head: dict[str, Any] | None, number: int, last: str) -> str:
    """The fault if lines are missing at the end; after a power cut the head may be one line behind."""
    if head is None:
        return "" if number == 0 else "audit.head is missing: so may be lines at the end"
    if _number(head) > number:
        return f"{_number(head) - number} lines are missing at the end"
    return "" if _number(head) != number or head["hash"] == last else "the last line was changed"


def _last_line(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """The last valid line, {} if there is none, and the bytes after the last newline."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    lines = file.read().split(b"\n")
    for line in reversed(lines):
        entry = _parsed(line)
        if entry:
            return entry, lines[-1]
    return {}, lines[-1]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("hash"), str) else None


def _number(entry: dict[str, Any]) -> int:
    found = entry.get("n", 0)
    return found if isinstance(found, int) else 0


def _chained(before: str, entry: dict[str, Any]) -> str:
    return hashlib.sha256(before.encode() + _line(entry)).hexdigest()


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
