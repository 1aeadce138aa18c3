"""The seams: what a camera, an engine and a sink must offer. Any class that fits is one; none inherits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from appliance.values import Frame, LampState, Reading, SessionInfo, Tensor, TensorSpec


@dataclass(frozen=True)
class Presence:
    """Whether a kind of camera is there, and how we know, in words."""

    found: bool
    why: str


class Camera(Protocol):
    """A source of frames. Used by one thread only."""

    needs_consent: bool
    """True when it shows living people: then it stays closed until they have agreed."""

    def missing(self) -> str | None:
        """Why the device is not there, found out without starting it; None when it is there."""

    def open(self) -> None:
        """Start delivering; raises `CameraLost` when the device is not there. Works again after `close`.

        Once it was open, it opens that very device and no other, until `forget`.
        """

    def read(self, timeout: float) -> Frame:
        """The next frame within `timeout` seconds, numbers and stamps rising.

        Raises `CameraLost` when none came in time or the device is gone, `CameraEnded` after the last
        frame of a clip that is not looped.
        """

    def close(self) -> None:
        """Stop and let the device go. May be called twice and before `open`."""

    def forget(self) -> None:
        """The consent ended: the next `open` may choose another device."""


class Engine(Protocol):
    """Runs one model: tensor in, tensors out. Belongs to one thread."""

    @property
    def description(self) -> str:
        """What runs it, for page and log."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model expects."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model gives."""

    def run(self, tensor: Tensor) -> list[Tensor]:
        """The outputs for one input, in the order of `outputs`: copies, never views into the runtime.

        Raises `EngineError` for a tensor of another shape or type, with both stated.
        """

    def close(self) -> None:
        """Let the model and its accelerator go. May be called twice."""


class Sink(Protocol):
    """Takes readings and does something with them. Called from one thread only."""

    def take(self, reading: Reading) -> None:
        """Use a new reading; must return soon."""

    def idle(self) -> None:
        """Nothing new came for half a second."""

    def close(self) -> None:
        """Flush and let go. May be called twice."""


class CameraLamp(Protocol):
    """The lamp that shows that the camera is open; `capture` itself switches it."""

    def camera_on(self) -> None:
        """Light it; raises `LampError` when it cannot be lit: then the camera stays closed."""

    def camera_off(self) -> None:
        """Put it out."""


class Lamps(CameraLamp, Protocol):
    """The lamps of a device."""

    present: bool
    """False when there is none at all, so that page and log can say so."""

    def show(self, state: LampState) -> None:
        """Running, fault and colour, written on change only."""

    def test(self, pause: Callable[[float], object]) -> None:
        """Light each for a moment, one after the other, the camera's too; before the camera may be opened."""

    def dark(self) -> None:
        """All out but the camera lamp."""

    def close(self) -> None:
        """Everything out, for good. May be called twice."""


class Records(Protocol):
    """Where sessions are recorded. Called from any thread."""

    def begin(self, session: SessionInfo) -> None:
        """Recording begins; raises `StoreError` when there is no room: then the state stays live."""

    def end(self, id: str) -> None:
        """Recording ends, in good order."""

    def mark(self, id: str, text: str) -> None:
        """A marker, now."""

    def erase(self, id: str) -> None:
        """Erase everything of it at once, journalled; harmless for an unknown id."""

    def find_link(self, link_hash: str) -> str | None:
        """The id of the session whose one-time link has this SHA-256; None once it is erased."""
