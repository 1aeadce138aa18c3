"""How provisioning says that something is wrong: one line, and an exit code."""

from __future__ import annotations

import errno

FAULT, USER = 1, 2
"""Exit codes: a fault while working; something the user must change."""


class DeviceError(Exception):
    """One line: what, what was expected, what to do next. `code`: the exit code it ends with."""

    code = FAULT


class BundleError(DeviceError):
    """A release bundle that is refused: nothing was changed."""

    code = USER


class UserError(DeviceError):
    """The user must change something first: nothing was changed."""

    code = USER


class ReleaseError(DeviceError):
    """A release could not be installed or switched to."""


def explain(error: OSError) -> str:
    """Why the system refused, in words that say what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no room is left on the disk; make room and try again"
    return error.strerror or str(error)


def last_error(output: str) -> str:
    """The last line a program printed that says something; pip's ends with advice: its last error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it said nothing"])[-1]
