"""Virtual environments in which the tests of the packaging run the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_QUICK = """#!/bin/sh -e
if [ "$1 $2" = "-m venv" ]; then
  for place; do :; done
  [ $# -eq 3 ] && options= || options=$3
  made={folder}/environment$options
  [ -d "$made" ] || {python} -m venv $options "$made"
  mkdir -p "$(dirname -- "$place")"
  exec cp -a "$made" "$place"
fi
exec {python} "$@"
"""


def make_quick_python(folder: Path) -> Path:
    """This Python, as a program that copies an environment instead of making one, which saves seconds.

    Use such an environment with `python -m` only: the scripts of pip contain the path of the original.
    """
    program = folder / "python"
    program.write_text(_QUICK.format(folder=folder, python=os.path.realpath(sys.executable)))
    program.chmod(0o755)
    return program


class Environment:
    """A virtual environment and the command installed in it."""

    def __init__(self, folder: Path) -> None:
        self._bin = folder / "bin"

    @classmethod
    def make(cls, folder: Path, python: str, *requirements: str) -> Environment:
        """A new environment with these requirements."""
        _must([python, "-m", "venv", "--clear", str(folder)])
        environment = cls(folder)
        environment.pip("install", *requirements)
        return environment

    def pip(self, *arguments: str) -> None:
        _must([str(self._bin / "python"), "-m", "pip", "--disable-pip-version-check", *arguments])

    def command(self, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `interview-grader` with these variables, and no others of the tests' environment."""
        return _run([str(self._bin / "interview-grader"), *arguments], cwd=cwd, **more)

    def start(self, *arguments: str, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start `interview-grader` and return its process; what it writes is in `log`."""
        with log.open("wb") as file:
            return subprocess.Popen(
                [str(self._bin / "interview-grader"), *arguments],
                cwd=cwd,
                env=_clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def python(self, program: str) -> str:
        """What a line of Python prints."""
        done = _run([str(self._bin / "python"), "-c", program])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def reading(self, picture: Path) -> dict[str, Any]:
        """What `analyze` reads in one picture."""
        done = self.command("analyze", "--jsonl", str(picture), cwd=picture.parent)
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        return json.loads(line)


def _run(command: list[str], cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    environment = _clean_environment() | more
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=500, check=False
    )


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def _must(command: list[str]) -> None:
    done = _run(command)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
