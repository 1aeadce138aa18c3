"""Runs system commands; a failure becomes one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

from device.errors import DeviceError

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_PAGER": ""}


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return its standard output; raises `DeviceError` with its last line."""
    done = try_run(*command, env=env)
    if done.returncode:
        message = (done.stderr.strip() or done.stdout.strip() or f"exit {done.returncode}").splitlines()[-1]
        raise DeviceError(f"{' '.join(command)}: {message}")
    return done.stdout


def try_run(*command: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, whatever its exit code; a missing command ends with 127."""
    environment = {**os.environ, **_ENVIRONMENT, **(env or {})}
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(list(command), 127, "", f"{command[0]}: not installed")


def succeeds(*command: str) -> bool:
    """Whether a command ends with 0."""
    return try_run(*command).returncode == 0
