"""The taxonomy: every error we raise ourselves, each also a fitting built-in.

A message carries the value, what was expected and the next step. Vendor exceptions are wrapped where
they surface, with the cause kept.
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Base of all errors of the appliance."""


class ConfigError(ApplianceError, ValueError):
    """The user must change a setting, an argument or an input; the process exits with 2."""

    def __init__(self, reason: str, *, key: str = "", value: object = None, file: str = "") -> None:
        self.reason, self.key, self.value, self.file = reason, key, value, file
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"{self.file}: " if self.file else ""
        shown = "" if self.value is None else f" = {self.value!r}"
        what = f"{self.key}{shown}: " if self.key else ""
        return f"{where}{what}{self.reason}"


class ConfigErrors(ConfigError):
    """Every problem found in the configuration, one line each."""

    def __init__(self, problems: list[ConfigError]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class BackendMissing(ConfigError, ImportError):
    """A named backend is unknown, or the package it needs is not installed; exits with 2."""


class CameraError(ApplianceError, OSError):
    """A camera cannot do what was asked."""


class CameraLost(CameraError):
    """Temporary: the camera is not there or stopped delivering. Say so, wait, open again."""


class CameraEnded(CameraError):
    """The clip is over and was not to be looped: the normal end of a run."""


class ModelError(ApplianceError, ValueError):
    """A model does not fit its manifest: digest, shape, type or quantisation; exits with 2."""


class EngineError(ApplianceError, RuntimeError):
    """The runtime refused a tensor or failed while running."""


class PictureError(ApplianceError, ValueError):
    """A picture or video given to `analyze` cannot be read."""


class LampError(ApplianceError, OSError):
    """A lamp that is configured cannot be driven. Without its lamp the camera stays closed."""


class PowerError(ApplianceError, OSError):
    """The system did not let the device be switched off."""


class StoreError(ApplianceError, OSError):
    """Something that must be kept cannot be written or read: a full disk, wrong rights, a damaged file."""


class StateConflict(ApplianceError, RuntimeError):
    """The session is not in a state that allows this; HTTP 409."""


class TooManyViewers(ApplianceError, RuntimeError):
    """The limit of viewers is reached; HTTP 503 with Retry-After."""


class Busy(ApplianceError, RuntimeError):
    """Another request does this already, and only one may; HTTP 503 with Retry-After."""


class AccessError(ConfigError):
    """A name, a password or a role that an account or a token cannot have; HTTP 400, exits with 2."""


class TooManyAttempts(ApplianceError, RuntimeError):
    """Somebody guesses, or asks too often; HTTP 429 with Retry-After."""

    def __init__(self, reason: str, *, wait_s: float = 1.0) -> None:
        self.wait_s = wait_s
        super().__init__(reason)


class SlotClosed(ApplianceError, RuntimeError):
    """The slot was closed: the normal end of a loop."""


class WorkerStuck(ApplianceError, RuntimeError):
    """A worker has not beaten within its limit."""
