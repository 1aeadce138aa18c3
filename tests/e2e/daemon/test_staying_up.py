"""A slow disk or a suspended process must not end the daemon; a lack of memory must."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import DOUBLES, Daemon, running, until
from tests.e2e.daemon.driver_doubles import FED, GAP, LIMIT, STARVE, SYNC, noting
from tests.fakes.card import mounted

SYNC_S = 2.0
STILL_S = 6.0


def fed(folder: Path) -> list[float]:
    """The times at which the watchdog was fed, in seconds of one clock."""
    lines = (folder / "fed").read_text(encoding="ascii").splitlines()
    return [float(line.split()[0]) for line in lines if line.endswith(" WATCHDOG=1")]


def events(daemon: Daemon) -> list[str]:
    text = (daemon.folder / "state/audit.jsonl").read_text()
    return [json.loads(line)["event"] for line in text.splitlines() if line.endswith("}")]


def test_a_slow_disk_delays_neither_the_watchdog_nor_the_end(tmp_path: Path) -> None:
    environment = {FED: str(tmp_path / "fed"), SYNC: str(SYNC_S)}
    with running(
        tmp_path, *noting(tmp_path), module=DOUBLES, environment=environment, ends_with=None
    ) as daemon:
        notes = tmp_path / "record"
        assert daemon.start_session(limit_s=60).status == 200
        assert daemon.post("/api/session/record", {}, limit_s=60).status == 200
        until(lambda: "open" in notes.read_text().split(), 10, "the camera")
        before = len(events(daemon))
        ending = threading.Thread(target=daemon.stop_session)
        ending.start()
        until(lambda: daemon.state()["state"] == "idle", 10, "the end")
        until(lambda: "close" in notes.read_text().split(), 10, "the camera is closed")
        until(lambda: "stop" in events(daemon)[before:], 60, "the line in the log")
        ending.join(30)
        assert daemon.stop(limit_s=40) == 0, daemon.log
    times = fed(tmp_path)
    gaps = [after - at for at, after in pairwise(times)]
    assert len(gaps) > 4 and max(gaps) < 2.5 * SYNC_S, "less than any single line of the log takes"


def test_a_stop_while_the_disk_is_slow_writes_everything(tmp_path: Path) -> None:
    environment = {SYNC: "1"}
    with running(
        tmp_path, *noting(tmp_path), module=DOUBLES, environment=environment, ends_with=None
    ) as daemon:
        assert daemon.start_session(limit_s=60).status == 200
        assert daemon.stop(limit_s=40) == 0, daemon.log
        assert events(daemon)[-1] == "stop"


def test_a_card_that_turns_read_only_does_not_end_live(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with mounted(tmp_path / "state", tmp_path / "image") as card:
        words, environment = (
            (*noting(tmp_path), "--set", "storage.min_free_mb=1"),
            {FED: str(tmp_path / "fed")},
        )
        with running(tmp_path, *words, module=DOUBLES, environment=environment) as daemon:
            assert daemon.start_session().status == 200
            assert daemon.post("/api/session/record", {}).status == 200
            until(lambda: (daemon.state()["reading"] or {}).get("faces"), 20, "a face")
            card.turn_read_only()
            before, times = daemon.state()["reading"]["frame"], len(fed(tmp_path))
            until(lambda: len(fed(tmp_path)) > times + 6, 30, "the watchdog is fed")
            until(lambda: daemon.state()["reading"]["frame"] > before + 20, 20, "more is read")
            assert daemon.state()["state"] in ("live", "recording")
            assert daemon.request("/healthz").status == 200
            until(lambda: daemon.state()["state"] == "live", 20, "recording has stopped")
            assert daemon.stop_session().status == 200
            until(lambda: daemon.state()["state"] == "idle", 20, "the end")


def test_a_suspended_process_is_not_a_fault(tmp_path: Path) -> None:
    environment = {FED: str(tmp_path / "fed"), LIMIT: "2"}
    with running(tmp_path, *noting(tmp_path), module=DOUBLES, environment=environment) as daemon:
        daemon.start_session()
        until(lambda: (daemon.state()["reading"] or {}).get("faces"), 20, "a face")
        stand_still(daemon)
        times = len(fed(tmp_path))
        until(lambda: len(fed(tmp_path)) > times + 4, 30, "more readings")
        assert daemon.state()["state"] == "live"
        assert daemon.log_lines("ERROR") == []


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel counts no waiting")
def test_vision_without_a_processor_ends_nothing(tmp_path: Path) -> None:
    notes, order = tmp_path / "record", tmp_path / "starve"
    environment = {LIMIT: "3", STARVE: str(order)}
    with running(tmp_path, *noting(tmp_path), module=DOUBLES, environment=environment) as daemon:
        daemon.start_session()
        until(lambda: (daemon.state()["reading"] or {}).get("faces"), 20, "a face")
        order.write_text("10")
        until(lambda: not order.exists(), 20, "vision has begun")
        began, before = time.monotonic(), notes.read_text().count("inference")

        def read_again() -> bool:
            assert daemon.process.poll() is None, daemon.log
            return notes.read_text().count("inference") > before + 20

        until(read_again, 40, "frames are read again")
        assert time.monotonic() - began > 6, "otherwise it was not starved"
        assert daemon.state()["state"] == "live"
        assert daemon.log_lines("ERROR") == []
        assert notes.read_text().split().count("open") == 1


def test_after_a_long_gap_no_one_is_read_until_the_operator_confirms(tmp_path: Path) -> None:
    environment = {GAP: "3"}
    with running(tmp_path, *noting(tmp_path), module=DOUBLES, environment=environment) as daemon:

        def analysed() -> list[bool]:
            return [face["analysed"] for face in (daemon.state()["reading"] or {}).get("faces", [])]

        daemon.start_session()
        until(lambda: any(analysed()), 20, "a person is read")
        stand_still(daemon)
        until(
            lambda: daemon.log_lines("WARNING", "analysis waits until the operator"),
            20,
            "the question who is in view",
        )
        until(lambda: analysed() and not any(analysed()), 20, "no one is read")
        assert daemon.state()["state"] == "live"
        assert daemon.post("/api/session/again").status == 200
        until(lambda: any(analysed()), 20, "a person is read again")


def test_without_memory_the_process_ends(tmp_path: Path) -> None:
    """In a session, which always needs more: an idle process may serve from what its last session freed."""
    with running(tmp_path, "--camera", "demo", ends_with=None) as daemon:
        lowest = math.inf

        def ended() -> bool:
            nonlocal lowest
            lowest = min(lowest, limit_memory(daemon, lowest))
            with suppress(OSError, HTTPException):
                daemon.request("/", limit_s=1)
            return daemon.process.poll() is not None

        until(ended, 100, "the end")
        assert daemon.wait(1) == 1, daemon.log


def limit_memory(daemon: Daemon, most: float) -> float:
    """Limit the process to `most` bytes, or to what it uses now if that is less; returns the limit."""
    with suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[0])
        most = min(most, os.sysconf("SC_PAGE_SIZE") * pages)
        resource.prlimit(daemon.pid, resource.RLIMIT_AS, (int(most), resource.RLIM_INFINITY))
    return most


def stand_still(daemon: Daemon) -> None:
    os.kill(daemon.pid, signal.SIGSTOP)
    time.sleep(STILL_S)
    os.kill(daemon.pid, signal.SIGCONT)
