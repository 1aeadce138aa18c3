"""`interview-grader` run by root: which user runs it, and root's own files and passphrases."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

USER = "games"
"""A user who exists on every system, in place of the service's."""

MAIN = f"""
import sys
from pathlib import Path
from device import root_command as command
from device.layout import Layout
command.USER, command.has_systemd = {USER!r}, lambda: False
command.service.unit_property = lambda *_: ""
sys.exit(command.main(sys.argv[2:], Layout(Path(sys.argv[1]))))
"""

PROGRAM = """#!/usr/bin/python3 -I
import getpass, json, os, sys
words = sys.argv[1:]
if words[0] == "backup":
    print(getpass.getpass("Passphrase: "), getpass.getpass("Again: "))
elif words[0] == "sessions":
    sys.stdout.write("content")
    sys.exit(int(words[-1]))
else:
    rights = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
    print(json.dumps({"words": words, "uid": os.getuid(), "groups": os.getgroups(),
                      "environment": dict(os.environ), "leads": os.getsid(0) == os.getpid(),
                      "privileges": rights["CapEff"].strip(),
                      "bounds": rights["CapBnd"].strip(), "no_more": rights["NoNewPrivs"].strip()}))
    sys.exit(5)
"""


class Device:
    """The files of a device, in a folder that every user may enter."""

    def __init__(self, root: Path) -> None:
        self.root, self.state, self.own = root, root / "var/lib/interview-grader", root / "own"
        root.chmod(0o755)
        program = root / "opt/interview-grader/current/venv/bin/interview-grader"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM)
        program.chmod(0o755)
        self.state.mkdir(parents=True)
        os.chown(self.state, pwd.getpwnam(USER).pw_uid, -1)
        self.own.mkdir(mode=0o700)

    def type(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", MAIN, str(self.root), *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "provisioning"), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.own,
        )


@pytest.fixture
def device() -> Iterator[Device]:
    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))  # other users cannot enter the tests' folder
    yield Device(folder)
    shutil.rmtree(folder)


def test_it_runs_as_the_service_without_secrets(device: Device) -> None:
    done = device.type("check", "--debug", SECRET="x", INTERVIEW_GRADER__WEB__PORT="1", LC_ALL="C.UTF-8")
    assert done.returncode == 5, done
    found = json.loads(done.stdout)
    assert found["words"] == ["check", "--debug"]
    assert found["uid"] == pwd.getpwnam(USER).pw_uid and 0 not in found["groups"]
    only_ports = f"{1 << 10:016x}"
    assert (found["privileges"], found["bounds"], found["no_more"], found["leads"]) == (
        only_ports,
        only_ports,
        "1",
        True,
    )
    assert found["environment"]["STATE_DIRECTORY"] == str(device.state)
    assert found["environment"]["INTERVIEW_GRADER__WEB__PORT"] == "1" and "SECRET" not in found["environment"]


def test_an_export_is_written_where_only_root_can_and_atomically(device: Device) -> None:
    file = device.own / "x.json"
    assert device.type("sessions", "export", "-o", "x.json", "0").returncode == 0
    assert file.read_text() == "content" and file.stat().st_uid == 0
    file.write_text("before")
    assert device.type("sessions", "export", f"-o{file}", "3").returncode == 3
    assert file.read_text() == "before" and list(device.own.iterdir()) == [file]
    done = device.type("sessions", "export", "-o", device.own / "absent/x", "0")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


@pytest.mark.parametrize("source", ["variable", "file"])
def test_root_can_give_a_passphrase(device: Device, source: str) -> None:
    (device.own / "words").write_text("correct horse\nmore\n")
    (device.own / "words").chmod(0o600)
    if source == "file":
        done = device.type("backup", "b", "--passphrase-file", "words")
    else:
        done = device.type("backup", "b", INTERVIEW_GRADER_PASSPHRASE="correct horse")
    assert (done.returncode, done.stdout) == (0, "correct horse correct horse\n"), done
    done = device.type("backup", "b", "--passphrase-file=absent")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "--passphrase-file" in done.stderr


def test_another_state_directory_is_used_without_a_sandbox(device: Device) -> None:
    for words, environment in (
        (("check", "--data-dir", device.own), {}),
        (("check", f"--data-dir={device.own}"), {}),
        (("check",), {"STATE_DIRECTORY": str(device.own)}),
        (("analyze", "x.png"), {}),
    ):
        assert json.loads(device.type(*words, **environment).stdout)["uid"] == 0, words
    for words, environment in (
        (("check", "--data-dir", device.state), {}),
        (("analyse",), {}),
        (("check",), {"STATE_DIRECTORY": str(device.state)}),
    ):
        assert json.loads(device.type(*words, **environment).stdout)["uid"] != 0, words


def test_without_the_user_it_says_how_to_create_it(device: Device) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "provisioning/confined"), "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 2:
        pytest.skip("installed here")
    assert (
        done.stderr
        == "interview-grader: user interview-grader does not exist; create it with: sudo ./setup.sh install\n"
    )
