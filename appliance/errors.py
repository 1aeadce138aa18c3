"""All errors that the appliance raises; each also derives from the matching built-in.

A message has the value, what was expected and the next step. Vendor exceptions are wrapped where they
surface and keep their cause.
"""

from __future__ import annotations

import re


class ApplianceError(Exception):
    """Base of all errors of the appliance."""


class ConfigError(ApplianceError, ValueError):
    """The user must change a setting, an argument or an input; the process exits with 2."""

    def __init__(self, reason: str, *, key: str = "", value: object = None, file: str = "") -> None:
        self.reason, self.key, self.value, self.file = reason, key, value, file
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file else ""
        shown = "" if self.value is None else f" = {_without_login(repr(self.value))}"
        what = f"{self.key}{shown}: " if self.key else ""
        return f"{where}{what}{self.reason}"


def _without_login(text: str) -> str:
    """A text without the USER:PASSWORD@ of an address in it, also of a mistyped one."""
    hidden, count = re.subn(r"://.*@", "://***@", text, flags=re.DOTALL)
    return hidden if count else re.sub(r"[^'\"]*:.*@", "***@", text, flags=re.DOTALL)


class ConfigErrors(ConfigError):
    """Every problem found in the configuration, one line each."""

    def __init__(self, problems: list[ConfigError]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class BackendMissing(ConfigError, ImportError):
    """A named backend is unknown, or the package it needs is not installed; exits with 2."""


class CameraError(ApplianceError, OSError):
    """A camera operation failed."""


class CameraLost(CameraError):
    """Temporary: the camera is missing or delivers no frames. Report it, wait, open it again."""


class CameraEnded(CameraError):
    """The clip ended and is not looped: the normal end of a run."""


class ModelError(ApplianceError, ValueError):
    """A model does not fit its manifest: digest, shape, type or quantisation; exits with 2."""


class EngineError(ApplianceError, RuntimeError):
    """The runtime refused a tensor or failed while running."""


class PictureError(ApplianceError, ValueError):
    """A picture or video given to `analyze`, or sent by a program, cannot be read; HTTP 422."""


class UnsupportedPicture(PictureError):
    """A picture in a format that is not accepted here; HTTP 415."""


class PictureTooLarge(PictureError):
    """A picture that a client sent has more bytes or pixels than are allowed."""


class LampError(ApplianceError, OSError):
    """A configured lamp cannot be driven. Without its lamp the camera stays closed."""


class PowerError(ApplianceError, OSError):
    """The system refused to power off."""


class StoreError(ApplianceError, OSError):
    """Data cannot be stored or read: a full disk, wrong permissions, a damaged file."""


class StateConflict(ApplianceError, RuntimeError):
    """The state of the session does not allow this; HTTP 409."""


class TooManyViewers(ApplianceError, RuntimeError):
    """The limit of viewers is reached; HTTP 503 with Retry-After."""


class Busy(ApplianceError, RuntimeError):
    """Another request is already doing this, and only one may; HTTP 503 with Retry-After."""


class AccessError(ConfigError):
    """An invalid name, password or role of an account or a token; HTTP 400, exits with 2."""


class UnknownName(AccessError):
    """No account or token has this name; HTTP 404, exits with 2."""


class AccessConflict(AccessError):
    """The name is in use, or the limit of accounts or tokens is reached; HTTP 409, exits with 2."""


class WrongPassword(AccessError):
    """The current password is wrong; HTTP 403."""


class TooManyAttempts(ApplianceError, RuntimeError):
    """Too many login attempts or requests; HTTP 429 with Retry-After."""

    def __init__(self, reason: str, *, wait_s: float = 1.0) -> None:
        self.wait_s = wait_s
        super().__init__(reason)


class SlotClosed(ApplianceError, RuntimeError):
    """The slot was closed: the normal end of a loop."""


class WorkerStuck(ApplianceError, RuntimeError):
    """A worker sent no heartbeat within its limit."""


class WorkerDied(ApplianceError, RuntimeError):
    """A process that reads inputs ended before its work was done."""
