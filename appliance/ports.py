"""The ports: what a camera, an engine, lamps and a sink must offer. Any class that fits is one.

`Camera`, `Engine` and `Lamps` are what runs; `CameraBackend`, `EngineBackend` and `LampsBackend` are their
classes, as `registry.load` returns them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from appliance.values import Frame, LampState, Reading, SessionInfo, Tensor, TensorSpec


class Backend(Protocol):
    """The class of a camera, an engine or lamps, as the configuration names it."""

    Settings: type[BaseModel]
    """The keys of its section of the configuration, besides `backend`."""


@dataclass(frozen=True)
class Discovery:
    """Whether a camera was found, and which, or why not."""

    found: bool
    why: str


class CameraBackend(Backend, Protocol):
    """The class of a camera. One of another package may leave out what `CameraDefaults` defines."""

    argument: str
    """The setting that NAME:VALUE of `--camera` gives; "" for none."""

    is_video: bool
    """Its frames may be cut together: after a cut other people may be in view."""

    def __call__(self, settings: Any) -> Camera:
        """A closed camera with these `Settings`; raises `ConfigError` for what can never be one."""

    def discover(self) -> Discovery:
        """Look for such a camera without starting it; `camera.backend = "auto"` asks this."""


class CameraDefaults:
    """Defaults of a `CameraBackend`: no argument, no video, never chosen automatically."""

    argument = ""
    is_video = False

    @staticmethod
    def discover() -> Discovery:
        """Find none."""
        return Discovery(False, "is never chosen automatically")


class Camera(Protocol):
    """A source of frames. Used by one thread only."""

    needs_consent: bool
    """True when it shows living people: then it stays closed until they have agreed."""

    def missing(self) -> str | None:
        """Why the device is missing, without starting it; None when it is there."""

    def open(self) -> None:
        """Start delivering; raises `CameraLost` when the device is missing. Works again after `close`.

        After the first `open`, each opens the same device, until `forget`.
        """

    def read(self, timeout: float) -> Frame:
        """The next frame within `timeout` seconds; numbers and stamps rise.

        Raises `CameraLost` when no frame came in time or the device is gone, `CameraEnded` after the last
        frame of a clip that is not looped.
        """

    def close(self) -> None:
        """Stop and release the device. May be called twice and before `open`."""

    def forget(self) -> None:
        """Let the next `open` choose another device: the consent to this one ended."""


class EngineBackend(Backend, Protocol):
    """The class of an engine, and what it can do.

    One of another package may leave out what `EngineDefaults` defines.
    """

    needs_fallback: bool
    """Its hardware can vanish or hang, so the CPU stands by. Then `Settings` has `probe_s`, seconds."""

    float_models: bool
    """It runs the float models, not the quantised ones."""

    needs_build: bool
    """`build` must run once for each model before the model is opened, and may take minutes."""

    def __call__(self, model: Path, settings: Any) -> Engine:
        """Open a model with these `Settings`.

        Raises `BackendMissing` without the vendor's library, `ModelError` for a file that is no model, and
        `EngineError` when the hardware does not answer.
        """

    def build(self, model: Path, settings: Any) -> None:
        """Build what `needs_build` asks for, unless that is done; raises `BackendMissing` or `ModelError`."""

    def inventory(self, settings: Any) -> str:
        """The vendor's software with versions, and the hardware, in one line; "" for nothing to name.

        Must not touch the hardware. Raises `BackendMissing` or `ModelError` where it cannot run.
        """


class EngineDefaults:
    """Defaults of an `EngineBackend`: needs nothing but its class."""

    needs_fallback = False
    float_models = False
    needs_build = False

    @staticmethod
    def build(model: Path, settings: Any) -> None:
        """Do nothing."""

    @staticmethod
    def inventory(settings: Any) -> str:
        """Name nothing."""
        return ""


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
        """Release the model and its accelerator. May be called twice."""


class Sink(Protocol):
    """Uses readings: shows, records, counts. Called from one thread only."""

    def take(self, reading: Reading) -> None:
        """Use a new reading; must return soon."""

    def idle(self) -> None:
        """React to half a second without a reading."""

    def close(self) -> None:
        """Flush and release. May be called twice."""


class CameraLamp(Protocol):
    """The lamp that shows that the camera is open; `loops.CaptureLoop` switches it."""

    def camera_on(self) -> None:
        """Light it; raises `LampError` when it stays dark: then the camera stays closed."""

    def camera_off(self) -> None:
        """Switch it off."""


class LampsBackend(Backend, Protocol):
    """The class of a device's lamps."""

    def __call__(self, settings: Any) -> Lamps:
        """Claim the pins of these `Settings`, all dark; raises `ConfigError` when one is unavailable."""

    def check(self, settings: Any) -> None:
        """Raises `ConfigError` when the lamps are unavailable. Claims no pin: a daemon may hold them."""


class Lamps(CameraLamp, Protocol):
    """The lamps of a device."""

    present: bool
    """False for a device without lamps, so that page and log can say so."""

    def show(self, state: LampState) -> None:
        """Set running, fault and colour; write only what changes."""

    def test(self, pause: Callable[[float], object]) -> None:
        """Light each lamp for a moment, one after the other; only before the camera may be opened."""

    def dark(self) -> None:
        """Switch off all lamps but the camera lamp."""

    def close(self) -> None:
        """Switch everything off for good. May be called twice."""


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
