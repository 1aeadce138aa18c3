"""Errors of provisioning: one line for the user, and an exit code."""

from __future__ import annotations

import errno

FAULT, USER = 1, 2
"""Exit codes: a fault, and something that the user must change."""


class DeviceError(Exception):
    """One line: what is wrong, what was expected, what to do next. `code`: the exit code."""

    code = FAULT


class BundleError(DeviceError):
    """A refused release bundle. Nothing was changed."""

    code = USER


class UserError(DeviceError):
    """The user must change something first. Nothing was changed."""

    code = USER


class ReleaseError(DeviceError):
    """A release could not be installed or switched to."""


def explain(error: OSError) -> str:
    """Explain an error of the operating system, and what to do about it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; make room and try again"
    return error.strerror or str(error)


def last_error(output: str) -> str:
    """The last meaningful line of a program's output. For pip, which ends with advice, its last error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no output"])[-1]
