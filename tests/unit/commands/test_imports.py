"""What a command loads: only the libraries that it uses, because loading them takes most of its start."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.files import encoded
from tests.fakes.parts import picture
from tests.machine import ROOT

PROBE = """
import sys
from appliance.cli import main
try:
    sys.exit(main(sys.argv[2:]))
finally:
    with open(sys.argv[1], "w") as file:
        file.write("\\n".join(sys.modules))
"""
"""Runs a command, and at its end writes the names of all loaded modules to a file."""

WEB = {"flask", "h11", "jinja2", "markdown_it", "prometheus_client", "segno", "websockets", "werkzeug"}
SECRETS = {"argon2", "cryptography", "itsdangerous"}
RECORDS = {"reportlab", "sqlite3"}
PICTURES = {"PIL", "pi_heif", "simplejpeg"}
VISION = {"ai_edge_litert", "av", "cv2", "numpy", "tflite_runtime"}
PROGRESS = {"tqdm"}
ALL = {"pydantic"} | WEB | SECRETS | RECORDS | PICTURES | VISION | PROGRESS

UNUSED = {
    "--help": ALL,
    "--version": ALL,
    "config": ALL - {"pydantic"},
    "status": ALL - {"pydantic"},
    "sessions": ALL - {"pydantic", "sqlite3"},
    "check": WEB | SECRETS | RECORDS | PICTURES | PROGRESS,
    "analyze": WEB | SECRETS | RECORDS | {"av", "pi_heif"},
    "run": {"cryptography", "markdown_it", "reportlab", "segno"} | PICTURES | PROGRESS,
}
"""Command -> libraries that it does not use: `analyze` with a JPEG, `check` and `run` with the demo clip."""


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """A command in a process of its own, without the configuration of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERVIEW_GRADER__")}
    return subprocess.Popen(
        [sys.executable, "-c", PROBE, str(folder / "modules"), *arguments],
        cwd=ROOT,
        env={**kept, "XDG_STATE_HOME": str(folder / "state")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def unused_but_loaded(folder: Path, command: str) -> set[str]:
    """The libraries of `UNUSED` that a command loaded."""
    loaded = {name.partition(".")[0] for name in (folder / "modules").read_text().splitlines()}
    assert "appliance" in loaded
    return loaded & UNUSED[command]


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    """Options for no settings but the defaults."""
    empty = tmp_path / "config.toml"
    empty.touch()
    return ["--config", str(empty)]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_an_option_of_the_program(tmp_path: Path, option: str) -> None:
    with started(tmp_path, option) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "") and out
    assert unused_but_loaded(tmp_path, option) == set()


@pytest.mark.parametrize(
    ("command", "more", "code"),
    [
        ("config", [], 0),
        ("status", ["--port", "1"], 1),
        ("sessions", ["list"], 0),
        ("check", ["--set", "camera.backend=demo"], 0),
    ],
)
def test_a_command(tmp_path: Path, settings: list[str], command: str, more: list[str], code: int) -> None:
    with started(tmp_path, command, *more, *settings) as process:
        _, err = process.communicate()
    assert process.returncode == code, err
    assert unused_but_loaded(tmp_path, command) == set()


def test_analyze_of_a_picture(tmp_path: Path, settings: list[str]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(), ".jpg"))
    with started(tmp_path, "analyze", *settings, str(path)) as process:
        _, err = process.communicate()
    assert process.returncode == 0, err
    assert unused_but_loaded(tmp_path, "analyze") == set()


def test_run_with_the_demo_clip(tmp_path: Path, settings: list[str]) -> None:
    with started(tmp_path, "run", *settings, "--camera", "demo", "--port", "0") as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert "is ready" in ready and process.returncode == 0, err
    assert unused_but_loaded(tmp_path, "run") == set()


@pytest.mark.parametrize("library", sorted(ALL - {"ai_edge_litert", "tflite_runtime"}))
def test_every_library_in_the_table_exists(library: str) -> None:
    assert importlib.util.find_spec(library)
