"""Log handlers: systemd's journal, with additional fields, or standard error."""

from __future__ import annotations

import array
import errno
import fcntl
import importlib
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from typing import cast

from appliance.system.terminal import EscapingFormatter

SOCKET = "/run/systemd/journal/socket"
_IDENTIFIER = "interview-grader"
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""Minimum level of Python's logging -> syslog priority."""


class JournalFields(logging.Filter):
    """Adds the fields WORKER (the thread) and CAMERA (the backend in use, once known) to every record."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set them as attributes in capitals, which `JournalHandler` sends."""
        record.WORKER = record.threadName
        if self.camera:
            record.CAMERA = self.camera
        return True


class JournalHandler(logging.Handler):
    """Sends each record as one journal entry: message, origin, and attributes in capitals.

    `send` takes fields as bytes, `NAME=value` each, and raises `OSError`.
    """

    def __init__(self, send: Callable[..., object]) -> None:
        super().__init__()
        self.send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send it; if the journal refuses it, write it to standard error with its priority."""
        try:
            message = self.format(record)
            priority = next((each for level, each in _PRIORITIES if record.levelno >= level), 7)
            fields = {
                "MESSAGE": message,
                "PRIORITY": priority,
                "SYSLOG_IDENTIFIER": _IDENTIFIER,
                "LOGGER": record.name,
                "THREAD_NAME": record.threadName,
                "PROCESS_NAME": record.processName,
                "CODE_FILE": record.pathname,
                "CODE_LINE": record.lineno,
                "CODE_FUNC": record.funcName,
                **({"EXCEPTION_TEXT": record.exc_text} if record.exc_text else {}),
                **{name: value for name, value in vars(record).items() if name.isupper()},
            }
            lines = (f"{name}={value}" for name, value in fields.items())
            try:
                self.send(*(line.encode(errors="backslashreplace") for line in lines))
            except OSError:
                print(f"<{priority}>{message}", file=sys.stderr)
        except Exception:
            self.handleError(record)


def send_to_journal(*fields: bytes) -> None:
    """Send one entry by the journal's native protocol; raises `OSError`.

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL
    """
    entry = b"".join(_encoded(*field.split(b"=", 1)) for field in fields)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(entry, SOCKET)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            _send_as_file(sender, entry)


def _encoded(name: bytes, value: bytes) -> bytes:
    """A field, with an explicit size if it has several lines: a line break would end it."""
    if b"\n" in value:
        return name + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name + b"=" + value + b"\n"


def _send_as_file(sender: socket.socket, entry: bytes) -> None:
    """Send an entry too large for a datagram as a sealed file in memory."""
    with os.fdopen(os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb", 0) as file:
        file.write(entry)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        passed = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))
        sender.sendmsg([], [passed], 0, SOCKET)


def _sender() -> Callable[..., object]:
    """The function of systemd-python if that is installed, else ours; both send the same."""
    try:
        return cast("Callable[..., object]", importlib.import_module("systemd.journal").sendv)
    except ImportError:
        return send_to_journal


def make_handlers(environment: Mapping[str, str]) -> list[logging.Handler]:
    """The journal if standard error is connected to it, else standard error."""
    if _is_journal(environment):
        handler = JournalHandler(_sender())
        handler.addFilter(JournalFields())
        handler.setFormatter(EscapingFormatter("%(message)s"))  # the rest goes into fields
        return [handler]
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(EscapingFormatter("%(levelname)s %(name)s: %(message)s"))
    return [plain]


def set_camera_field(backend: str) -> None:
    """Set the camera backend in use, for the field CAMERA of journal entries."""
    for handler in logging.getLogger().handlers:
        for fields in handler.filters:
            if isinstance(fields, JournalFields):
                fields.camera = backend


def _is_journal(environment: Mapping[str, str]) -> bool:
    """JOURNAL_STREAM names the device and inode of the journal's end of standard error."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
