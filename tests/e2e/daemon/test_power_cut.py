"""Killed while recording, again and again: each start works, and no second that was written is lost.

`make kills` does it 200 times; otherwise it runs as often as fits into a run of all tests.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.records import Store
from tests.e2e.daemon.driver import clean_environment
from tests.machine import ROOT

KILLS = int(os.environ.get("KILLS", "10"))
LIMIT_S = 30.0


def child(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.daemon.recording_child", str(folder), *words],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.timeout(30 + 4 * KILLS)
def test_killed_while_recording(tmp_path: Path) -> None:
    chance = random.Random(4)
    folder = tmp_path / "state"
    told: dict[str, int] = {}
    for round in range(KILLS):
        id = f"{round:012x}"
        process = child(folder, id)
        assert process.stdout is not None and process.stderr is not None
        first = process.stdout.readline()
        assert first == "open ok []\n", f"round {round}: {first}{process.stderr.read()}"
        # After a certain number of commits, then at any point of one.
        for _ in range(chance.randint(1, 60)):
            told[id] = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read()  # not communicate(), which ignores what readline() has buffered
        process.communicate(timeout=LIMIT_S)
        told[id] = max([told[id], *map(int, rest.split("\n")[:-1])])
    store = Store(folder)
    store.tick()
    try:
        assert store.status.state == "ok"
        for id, last in told.items():
            session = store.session(id)
            assert session is not None, id
            # Only the second that was being written when it was killed may exist without having been printed.
            assert session.summary.seconds - 1 in (last, last + 1)
            assert session.summary.ending == "power"
            assert session.summary.ended == session.summary.recorded + session.summary.seconds
            numbers = sorted((each.second, each.person) for each in session.seconds)
            assert numbers == [(n, person) for n in range(session.summary.seconds) for person in (1, 2)]
    finally:
        store.close()


@pytest.mark.parametrize("limit", [50_000, 200_000])
def test_a_full_disk_stops_the_recording_and_loses_nothing(tmp_path: Path, limit: int) -> None:
    process = child(tmp_path / "state", "0123456789ab", str(limit))
    out, err = process.communicate(timeout=LIMIT_S)
    *numbers, last = out.splitlines()[1:]
    assert process.returncode == 0, err
    assert last.startswith(("stopped full", "stopped failed")), last
    store = Store(tmp_path / "state")
    store.tick()
    try:
        [kept] = store.sessions()
        assert kept.seconds == len(numbers)
        assert kept.ended is not None
    finally:
        store.close()
