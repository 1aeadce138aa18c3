"""`provisioning/update` and `provisioning/push`: mistakes in one line, and the commands that push sends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.machine import ROOT

UPDATE, PUSH = ROOT / "provisioning" / "update", ROOT / "provisioning" / "push"


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("arguments", [[], ["rollback", "1", "2"], ["bundle", "--never"]])
def test_a_wrong_argument_is_reported_in_one_line(arguments):
    done = run(UPDATE, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("interview-grader-update: ") and done.stderr.count("\n") == 1


def test_without_an_installation_it_refuses():
    for command in (["rollback"], ["recover"], ["/etc/passwd"]):
        done = run(UPDATE, *command)
        assert done.returncode == 2
        words = "nothing is installed" if os.geteuid() == 0 else "only root"
        assert words in done.stderr and done.stderr.count("\n") == 1
    assert run(UPDATE, "list").stdout == ""


@pytest.fixture
def far(tmp_path) -> dict[str, str]:
    """ssh and scp that run the commands on this machine, and record them."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in {
        "ssh": f'printf "ssh %s\\n" "$*" >>{tmp_path}/said; shift; shift; exec sh -c "$*"',
        "scp": f'printf "scp %s\\n" "$*" >>{tmp_path}/said; cp -- "$3" "${{4#*:}}"',
        "sudo": f'test -s "$2" && printf "%s\\n" "$*" >{tmp_path}/asked; exit $(cat {tmp_path}/code)',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    (tmp_path / "code").write_text("0")
    (tmp_path / "a bundle").write_text("bundle")
    return {"PATH": f"{tools}:{os.environ['PATH']}"}


def test_push_copies_updates_and_cleans_up(far, tmp_path):
    done = run(PUSH, "pi@far", tmp_path / "a bundle", "--now", **far)
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "asked").read_text().split()
    assert (words[0], words[2]) == ("interview-grader-update", "--now")
    assert not Path(words[1]).parent.exists()


def test_push_returns_the_code_of_the_update_and_cleans_up(far, tmp_path):
    (tmp_path / "code").write_text("2")
    assert run(PUSH, "pi@far", tmp_path / "a bundle", **far).returncode == 2
    assert not Path((tmp_path / "asked").read_text().split()[1]).parent.exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["far"], ["-oProxyCommand=evil", "{bundle}"], ["far", "absent"], ["far", "{bundle}", "--then"]],
)
def test_push_refuses_mistakes_before_it_connects(far, tmp_path, arguments):
    done = run(PUSH, *(word.format(bundle=tmp_path / "a bundle") for word in arguments), **far)
    assert done.returncode == 2
    assert not (tmp_path / "said").exists()
