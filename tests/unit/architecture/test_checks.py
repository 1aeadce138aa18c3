"""The hooks of pre-commit run the checks of `make check`, every one of them, and fetch nothing."""

from __future__ import annotations

import re
import shlex
import subprocess

from tests.machine import ROOT

CHECKS = re.findall(r"^check '([^']+)'", (ROOT / "tests/check.sh").read_text("utf-8"), re.MULTILINE)
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")


def test_the_hooks_run_every_check() -> None:
    named = []
    for entry in re.findall(r"entry: (.+)", HOOKS):
        script, *checks = shlex.split(entry)
        assert script == "tests/check.sh"
        named += checks
    assert sorted(named) == sorted(CHECKS) and len(CHECKS) > 5


def test_the_hooks_fetch_nothing() -> None:
    assert re.findall(r"repo: (.+)", HOOKS) == ["local"]
    assert HOOKS.count("language: system") == HOOKS.count("- id: ")


def test_an_unknown_check_is_refused() -> None:
    done = subprocess.run(
        [ROOT / "tests/check.sh", "no such"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (2, "check: no check is named no such\n")
