"""The engines are measured while no one uses the appliance, and never during a session."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from appliance.errors import SlotClosed
from appliance.inference.idle_measurement import IdleMeasurement

LIMIT_S = 30.0
HANGS = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"


class Use:
    """Whether someone uses the appliance."""

    def __init__(self) -> None:
        self.on = threading.Event()

    def wait(self, seconds: float) -> bool:
        return self.on.wait(min(seconds, 0.02))


@contextmanager
def measurement(program: str, use: Use, *words: str, idle_s: float = 0.0) -> Iterator[IdleMeasurement]:
    command = [sys.executable, "-I", "-c", program, *words]
    made = IdleMeasurement(command, use.wait, lambda seconds: None, idle_s=idle_s)
    try:
        yield made
    finally:
        made.close()


def run_to_the_end(made: IdleMeasurement) -> None:
    end = time.monotonic() + LIMIT_S
    with suppress(SlotClosed):
        while time.monotonic() < end:
            made.step()
        pytest.fail("the measurement did not end")


def step_until(made: IdleMeasurement, path: Path) -> int:
    """Step until the program has written its process id; returns it."""
    end = time.monotonic() + LIMIT_S
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end, "the program did not start"
        made.step()
    return int(path.read_text())


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        ("print('engines: a'); print('engines: b')", ["engines: b from the next start on"]),
        ("print()", []),
        (
            "import sys; sys.exit('first\\ninterview-grader: no CPU')",
            ["the engines could not be measured: no CPU"],
        ),
        ("import sys; sys.exit(3)", ["the engines could not be measured: exit code 3"]),
    ],
)
def test_it_measures_once_and_logs_at_most_one_line(
    program: str, lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with measurement(program, Use()) as made:
        run_to_the_end(made)
    assert caplog.messages == lines


def test_a_program_that_cannot_be_started_stops_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    made = IdleMeasurement(["/nowhere/python"], Use().wait, lambda seconds: None, idle_s=0.0)
    run_to_the_end(made)
    (line,) = caplog.messages
    assert line.startswith("the engines could not be measured: ") and "/nowhere/python" in line


def test_a_session_ends_the_measurement_with_all_its_processes(tmp_path: Path) -> None:
    note, use = tmp_path / "pid", Use()
    starts_another = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HANGS!r}, sys.argv[1]])"
    with measurement(starts_another, use, str(note)) as made:
        process = step_until(made, note)
        use.on.set()
        made.step()
        end = time.monotonic() + LIMIT_S
        while is_running(process):
            assert time.monotonic() < end, "a measuring process outlived the beginning of a session"
        note.unlink()
        made.step()
        assert not note.exists(), "measured during a session"
        use.on.clear()
        assert step_until(made, note) != process, "the next idle time starts again"


def test_a_start_is_not_disturbed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with measurement(HANGS, Use(), str(note), idle_s=3600.0) as made:
        for _ in range(5):
            made.step()
        assert made._process is None
