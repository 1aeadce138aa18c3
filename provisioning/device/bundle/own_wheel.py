"""The appliance's own wheel, built from a checkout."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from device.errors import BundleError, last_error

LOCKS = "requirements"
"""Folder of a checkout with the locked requirements and their hashes, made by `make lock`."""

_PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")


def make_wheel(python: str, checkout: Path, into: Path) -> Path:
    """Build it into a folder that has none yet, with a Python that has pip; raises `BundleError`.

    pip would fetch the build tools without checking hashes, so they are installed here from their lock.
    """
    with tempfile.TemporaryDirectory() as tools:
        lock = str(checkout / LOCKS / "build.txt")
        _pip(python, "install", "--quiet", "--require-hashes", f"--target={tools}", "-r", lock)
        options = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(into))
        _pip(python, "wheel", *options, str(checkout), PYTHONPATH=tools)
    (own,) = into.glob("interview_grader-*.whl")
    return own


def _pip(python: str, *arguments: str, **more: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [python, *_PIP, *arguments]
    done = subprocess.run(
        command, env=kept | more, capture_output=True, text=True, errors="replace", check=False, cwd="/"
    )
    if done.returncode != 0:
        raise BundleError(f"pip {arguments[0]} failed ({last_error(done.stderr or done.stdout)})")
