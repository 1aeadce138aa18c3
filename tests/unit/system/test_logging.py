"""Where the log goes, and what each journal entry contains. Tests of booted devices read a real journal."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.system import logging as app_logging
from appliance.system.terminal import EscapingFormatter
from tests.machine import ROOT, can_mount


@contextlib.contextmanager
def standard_error(path: Path) -> Iterator[dict[str, str]]:
    """Make this file standard error; returns an environment that names it as the journal's.

    Not a fixture: pytest restores its own standard error before the test.
    """
    with path.open("w") as stream, contextlib.redirect_stderr(stream):
        found = os.fstat(stream.fileno())
        yield {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    monkeypatch.setitem(sys.modules, "systemd.journal", None)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_package: None) -> Iterator[socket.socket]:
    """The socket of a journal."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "journal"))
        listening.settimeout(10)
        monkeypatch.setattr(app_logging, "SOCKET", str(tmp_path / "journal"))
        yield listening


def received(daemon: socket.socket) -> dict[str, str]:
    """The next entry, read as the journal reads it; an entry in a file must be sealed."""
    data, ancillary, flags, _ = daemon.recvmsg(1 << 20, 64)
    assert not flags & socket.MSG_TRUNC
    for _, _, content in ancillary:
        (descriptor,) = struct.unpack("i", content)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == seals, "the journal accepts no other file"
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        os.close(descriptor)
    return parsed(data)


def parsed(data: bytes) -> dict[str, str]:
    """https://systemd.io/JOURNAL_NATIVE_PROTOCOL"""
    fields: dict[str, str] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", data)
            value, end, data = data[8 : 8 + size], data[8 + size : 9 + size], data[9 + size :]
            assert end == b"\n"
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def logger(tmp_path: Path, daemon: socket.socket) -> logging.Logger:
    with standard_error(tmp_path / "stream") as environment:
        (handler,) = app_logging.make_handlers(environment)
    found = logging.Logger("appliance.camera")
    found.addHandler(handler)
    return found


def test_an_entry_has_fields(logger: logging.Logger, daemon: socket.socket) -> None:
    logger.warning("lost: %s", "usb")
    entry = received(daemon)
    assert entry.pop("CODE_FILE") == __file__ and int(entry.pop("CODE_LINE")) > 0
    assert entry == {
        "MESSAGE": "lost: usb",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "interview-grader",
        "LOGGER": "appliance.camera",
        "WORKER": "MainThread",
        "THREAD_NAME": "MainThread",
        "PROCESS_NAME": "MainProcess",
        "CODE_FUNC": "test_an_entry_has_fields",
    }


def test_later_entries_name_the_camera(
    logger: logging.Logger, daemon: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", logger.handlers)
    app_logging.set_camera_field("usb")
    logger.info("open")
    assert received(daemon)["CAMERA"] == "usb"


@pytest.mark.parametrize(
    ("level", "priority"),
    [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2), (99, 2), (1, 7)],
)
def test_every_level_has_its_priority(
    logger: logging.Logger, daemon: socket.socket, level: str | int, priority: int
) -> None:
    logger.log(level if isinstance(level, int) else getattr(logging, level), "x")
    assert received(daemon)["PRIORITY"] == str(priority)


def test_a_traceback_keeps_its_lines(logger: logging.Logger, daemon: socket.socket) -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        logger.exception("failed")
    entry = received(daemon)
    assert entry["MESSAGE"].splitlines()[0] == "failed"
    assert entry["MESSAGE"].endswith("\nValueError: wrong")
    assert entry["EXCEPTION_TEXT"].startswith("Traceback") and entry["LOGGER"] == "appliance.camera"


def test_a_file_name_that_is_not_text_is_logged(logger: logging.Logger, daemon: socket.socket) -> None:
    logger.info("%s", os.fsdecode(b"\xff.mp4"))
    assert received(daemon)["MESSAGE"] == "\\udcff.mp4"


@pytest.mark.parametrize("kilobytes", [64, 4096])
def test_a_message_of_any_size_arrives_completely(
    logger: logging.Logger, daemon: socket.socket, kilobytes: int
) -> None:
    logger.info("é" * (kilobytes << 9))
    assert received(daemon)["MESSAGE"] == "é" * (kilobytes << 9)


def test_without_a_journal_the_entry_goes_to_standard_error(
    logger: logging.Logger, daemon: socket.socket, tmp_path: Path
) -> None:
    (tmp_path / "journal").unlink()
    with standard_error(tmp_path / "stream"):
        logger.error("lost")
    assert (tmp_path / "stream").read_text() == "<3>lost\n"


def test_another_stream_is_not_the_journal(tmp_path: Path) -> None:
    with standard_error(tmp_path / "stream") as own:
        for environment in ({}, {"JOURNAL_STREAM": "8:1"}):
            (handler,) = app_logging.make_handlers(environment)
            assert type(handler) is logging.StreamHandler
        (handler,) = app_logging.make_handlers(own)
        assert type(handler) is app_logging.JournalHandler


def log_with_each_sender(listening: socket.socket, send: Callable[..., object]) -> None:
    """Runs in a file system where the journal's path is free, because systemd-python uses no other."""
    entries = []
    for sender in (send, app_logging.send_to_journal):
        handler = app_logging.JournalHandler(sender)
        handler.addFilter(app_logging.JournalFields())
        handler.setFormatter(EscapingFormatter("%(message)s"))
        record = logging.LogRecord("a", logging.ERROR, "x.py", 7, "%s", ("one\ttwo é = 3",), None, "f")
        handler.handle(record)
        record.exc_text = "Traceback\n  here"
        handler.handle(record)
        entries.append([received(listening), received(listening)])
    assert entries[0] == entries[1] and entries[0][1]["EXCEPTION_TEXT"] == "Traceback\n  here", entries


@pytest.mark.skipif(not can_mount(), reason="no right to mount")
def test_the_package_sends_the_same() -> None:
    pytest.importorskip("systemd.journal", reason="systemd-python is not installed")
    program = """
import os, socket
from systemd.journal import sendv
from appliance.system import logging as app_logging
from tests.unit.system.test_logging import log_with_each_sender
os.makedirs(os.path.dirname(app_logging.SOCKET))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
    listening.bind(app_logging.SOCKET)
    listening.settimeout(10)
    log_with_each_sender(listening, sendv)
print("the same")
"""
    mounted = 'mount -t tmpfs tmpfs /run && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mounted, "sh", sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "the same\n", done.stderr


def test_the_package_is_used_where_it_is_installed(tmp_path: Path) -> None:
    package = pytest.importorskip("systemd.journal", reason="systemd-python is not installed")
    with standard_error(tmp_path / "stream") as environment:
        (handler,) = app_logging.make_handlers(environment)
    assert isinstance(handler, app_logging.JournalHandler) and handler.send is package.sendv
