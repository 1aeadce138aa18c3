"""The daemon starts on any records, however they are damaged. `DAMAGES=300` for as many starts."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import command, running
from tests.fakes.damage import copied, damage, recorded

DAMAGES = int(os.environ.get("DAMAGES", "3"))


@pytest.mark.timeout(60 + 20 * DAMAGES)
def test_the_daemon_starts_on_any_damage(tmp_path: Path) -> None:
    chance, sound = random.Random(12), recorded(tmp_path / "sound")
    for number in range(DAMAGES):
        path = copied(sound, tmp_path / str(number) / "state")
        words = damage(path, chance)
        if number == 0:  # one of the kind that kept the device down
            content = path.read_bytes().replace(b"CREATE TABLE seconds", b"CREATE TABLE \xff\xfeconds")
            path.write_bytes(content)
        with running(path.parent.parent, "--camera", "demo") as daemon:
            assert daemon.state()["storage"]["state"] in ("ok", "set_aside"), words
            done = command("sessions", "list", "--data-dir", path.parent)
            assert done.returncode in (0, 1) and len(done.stderr.splitlines()) <= 1, (words, done)
