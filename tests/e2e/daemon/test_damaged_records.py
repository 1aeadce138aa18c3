"""The daemon starts with any damaged records. `DAMAGES=300` sets the number of starts."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import command, running
from tests.fakes.damage import copied, damage, recorded

DAMAGES = int(os.environ.get("DAMAGES", "3"))


@pytest.mark.timeout(60 + 20 * DAMAGES)
def test_the_daemon_starts_with_any_damage(tmp_path: Path) -> None:
    chance, sound = random.Random(12), recorded(tmp_path / "sound")
    for number in range(DAMAGES):
        path = copied(sound, tmp_path / str(number) / "state")
        words = damage(path, chance)
        if number == 0:  # one of the kind that once prevented a start
            content = path.read_bytes().replace(b"CREATE TABLE seconds", b"CREATE TABLE \xff\xfeconds")
            path.write_bytes(content)
        with running(path.parent.parent, "--camera", "demo") as daemon:
            assert daemon.state()["storage"]["state"] in ("ok", "set_aside"), words
            done = command("sessions", "list", "--data-dir", path.parent)
            assert done.returncode in (0, 1) and len(done.stderr.splitlines()) <= 1, (words, done)
