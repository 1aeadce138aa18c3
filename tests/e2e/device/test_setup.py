"""setup.sh: its reports of mistakes, and that it installs only after a change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.machine import ROOT


def run(script: Path, *arguments: str, cwd: Path | str = "/") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [script, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["--help"], ["run-it"]])
def test_an_unknown_command_shows_the_usage_and_exits_2(arguments):
    done = run(ROOT / "setup.sh", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: ./setup.sh run")


@pytest.mark.parametrize(
    "arguments", [["--chekc"], ["--offline"], ["--offline", "/nowhere"], ["--name", "a b"]]
)
def test_a_mistake_with_install_is_reported_in_one_line_and_exits_2(arguments):
    done = run(ROOT / "setup.sh", "install", *arguments, "--check")
    assert done.returncode == 2
    assert done.stderr.startswith("setup.sh install: ")
    assert done.stderr.count("\n") == 1


def test_every_shell_script_passes_shellcheck():
    folders = (ROOT / name for name in (".ci", "tests", "provisioning"))
    files = [ROOT / "setup.sh", *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    scripts = [path for path in files if path.suffix in ("", ".sh") and _is_shell(path)]
    assert ROOT / "provisioning/image/first-boot" in scripts
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _is_shell(path: Path) -> bool:
    first = path.read_bytes().partition(b"\n")[0]
    return first in (b"#!/bin/sh", b"#!/usr/bin/env bash")


@pytest.mark.parametrize(
    "script", ["setup.sh", ".ci/run", "tests/check.sh", "provisioning/install", "provisioning/command"]
)
def test_scripts_can_be_run(script):
    assert os.access(ROOT / script, os.X_OK)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment records the installations instead of making them."""
    top = tmp_path / "a checkout"
    binaries = top / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("setup.sh", "pyproject.toml"):
        shutil.copy(ROOT / name, top / name)
    shutil.copytree(ROOT / "requirements", top / "requirements")
    (top / ".venv" / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    _write_script(
        binaries / "python",
        f'''if [ "$2" = pip ]; then
          printf '%s\\n' "$*" >>"{top}/installations"
          [ ! -e "{top}/broken" ] || {{ echo "ERROR: no network"; exit 1; }}
        else
          exec {sys.executable} "$@"
        fi''',
    )
    _write_script(binaries / "pip", f'exec "{binaries}/python" -m pip "$@"')
    _write_script(binaries / "interview-grader", 'printf "%s|" "$PWD" "$@"')
    return top


def _write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def installations(checkout: Path) -> list[str]:
    return (checkout / "installations").read_text().splitlines()


def test_run_installs_once_and_passes_its_options_on(checkout, tmp_path):
    for _ in range(2):
        done = run(checkout / "setup.sh", "run", "--port", "80 80", cwd=tmp_path)
        assert done.stdout == f"{tmp_path}|run|--port|80 80|", done.stderr
        assert done.returncode == 0
    packages, tools, own = installations(checkout)
    assert "--require-hashes" in packages and "requirements/litert.txt" in packages
    assert "--require-hashes" in tools and "requirements/build.txt" in tools
    assert "--no-deps" in own and "--no-build-isolation" in own, "nothing comes without a hash"


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.sh", "requirements/litert.txt"])
def test_run_installs_again_when_a_dependency_changed(checkout, name):
    run(checkout / "setup.sh", "run")
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    run(checkout / "setup.sh", "run")
    assert len(installations(checkout)) == 2 * 3


def test_a_failed_installation_falls_back_reports_why_and_is_tried_again(checkout):
    (checkout / "broken").touch()
    done = run(checkout / "setup.sh", "run")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ERROR: no network" in done.stderr
    litert, tflite = installations(checkout)
    assert "requirements/litert.txt" in litert and "requirements/tflite-runtime.txt" in tflite

    (checkout / "broken").unlink()
    assert run(checkout / "setup.sh", "run").returncode == 0
    assert len(installations(checkout)) == 2 + 3


def test_nothing_is_compiled_for_systemd(checkout, tmp_path, monkeypatch):
    """The packages that `test` installs if none is installed. apt-get and dpkg-query are stand-ins."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    _write_script(stubs / "apt-get", f'printf "%s\\n" "$@" >>"{tmp_path}/asked"')
    _write_script(stubs / "dpkg-query", "exit 1")
    _write_script(stubs / "id", "echo 0")
    monkeypatch.setenv("PATH", f"{stubs}:{os.environ['PATH']}")
    (stubs / "systemd.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(stubs))
    run(checkout / "setup.sh", "test")
    asked = (tmp_path / "asked").read_text().split()
    assert "shellcheck" in asked and not {"libsystemd-dev", "pkg-config", "python3-dev"} & set(asked)
    assert not any("systemd" in line for line in installations(checkout))


@pytest.mark.parametrize(
    ("numpy", "lock"), [("1.24.2", "litert-numpy1"), ("2.2.4", "litert"), ("", "litert")]
)
def test_camera_packages_built_against_numpy_1_get_the_lock_for_it(checkout, tmp_path, numpy, lock):
    """`numpy`: the system's, "" where it has none."""
    system = tmp_path / "system"
    (system / "picamera2").mkdir(parents=True)
    (system / "numpy.py").write_text(f'__version__ = "{numpy}"\n' if numpy else "raise ImportError\n")
    _write_script(system / "python3", f'PYTHONPATH="{system}" exec {sys.executable} "$@"')
    script = checkout / "setup.sh"
    text = script.read_text().replace("/usr/bin/python3", str(system / "python3"))
    script.write_text(text.replace("/usr/lib/python3/dist-packages/picamera2", str(system / "picamera2")))
    assert run(script, "run").returncode == 0
    assert f"requirements/{lock}.txt" in installations(checkout)[0]
