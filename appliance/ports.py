"""The ports: interfaces of cameras, engines, lamps and sinks. Any class with these members implements one.

`Camera`, `Engine` and `Lamps` describe instances; `CameraBackend`, `EngineBackend` and `LampsBackend`
describe their classes, as `registry.load` returns them.
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
    """The class of a camera. A class of another package may omit what `CameraDefaults` defines."""

    argument: str
    """The setting that NAME:VALUE of `--camera` gives; "" for none."""

    is_video: bool
    """Its frames may have cuts: after a cut other people may be in view."""

    def __call__(self, settings: Any) -> Camera:
        """A closed camera with these `Settings`; raises `ConfigError` if they can never be a camera."""

    def discover(self) -> Discovery:
        """Look for such a camera without starting it, for `camera.backend = "auto"`."""


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
    """Whether it shows living people: then it stays closed until they have agreed."""

    def missing(self) -> str | None:
        """Why the device is missing, None if it is present; does not start it."""

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
    """The class of an engine, and its capabilities.

    A class of another package may omit what `EngineDefaults` defines.
    """

    needs_fallback: bool
    """Its hardware can vanish or hang, so the CPU is the fallback. Then `Settings` has `probe_s`, seconds."""

    float_models: bool
    """It runs the float models, not the quantised ones."""

    needs_build: bool
    """`build` must run once for each model before the model is opened, and may take minutes."""

    parallel: bool
    """Two of its engines may run at the same time in two threads, and together they are faster."""

    def __call__(self, model: Path, settings: Any) -> Engine:
        """Open a model with these `Settings`.

        Raises `BackendMissing` without the vendor's library, `ModelError` for a file that is not a model, and
        `EngineError` when the hardware does not respond.
        """

    def build(self, model: Path, settings: Any) -> None:
        """Build the model unless it is built already; raises `BackendMissing` or `ModelError`."""

    def inventory(self, settings: Any) -> str:
        """The vendor's software with versions, and the hardware, in one line; "" if there is none.

        Must not touch the hardware. Raises `BackendMissing` or `ModelError` if the engine cannot run.
        """


class EngineDefaults:
    """Defaults of an `EngineBackend`: no fallback, quantised models, one at a time, nothing else."""

    needs_fallback = False
    float_models = False
    needs_build = False
    parallel = False

    @staticmethod
    def build(model: Path, settings: Any) -> None:
        """Do nothing."""

    @staticmethod
    def inventory(settings: Any) -> str:
        """Return nothing."""
        return ""


class Engine(Protocol):
    """Runs one model: tensor in, tensors out. Belongs to one thread."""

    @property
    def description(self) -> str:
        """What runs the model, for page and log."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model expects."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model returns."""

    def run(self, tensor: Tensor) -> list[Tensor]:
        """The outputs for one input, in the order of `outputs`: copies, never views into the runtime.

        Raises `EngineError` for a tensor of another shape or type; the message names both.
        """

    def close(self) -> None:
        """Release the model and its accelerator. May be called twice."""


class Sink(Protocol):
    """Uses readings: shows, records, counts. Called from one thread only."""

    def take(self, reading: Reading) -> None:
        """Use a new reading; must return quickly."""

    def idle(self) -> None:
        """React to half a second without a reading."""

    def close(self) -> None:
        """Flush and release. May be called twice."""


class CameraLamp(Protocol):
    """The lamp that shows that the camera is open; `loops.CaptureLoop` switches it."""

    def camera_on(self) -> None:
        """Light it; raises `LampError` if it stays dark: then the camera stays closed."""

    def camera_off(self) -> None:
        """Switch it off."""


class LampsBackend(Backend, Protocol):
    """The class of a device's lamps."""

    def __call__(self, settings: Any) -> Lamps:
        """Claim the pins of these `Settings`, all lamps off; raises `ConfigError` if one is unavailable."""

    def check(self, settings: Any) -> None:
        """Raises `ConfigError` if the lamps are unavailable. Claims no pin: a daemon may hold them."""


class Lamps(CameraLamp, Protocol):
    """The lamps of a device."""

    present: bool
    """False for a device without lamps, so that page and log can report it."""

    def show(self, state: LampState) -> None:
        """Set running, fault and colour; write only what changes."""

    def test(self, pause: Callable[[float], object]) -> None:
        """Light each lamp briefly, one after the other; only before the camera may be opened."""

    def dark(self) -> None:
        """Switch off all lamps except the camera lamp."""

    def close(self) -> None:
        """Switch everything off permanently. May be called twice."""


class Records(Protocol):
    """Where sessions are recorded. Called from any thread."""

    def begin(self, session: SessionInfo) -> None:
        """Begin recording; raises `StoreError` if the disk is full: then the state stays live."""

    def end(self, id: str) -> None:
        """End recording normally."""

    def mark(self, id: str, text: str) -> None:
        """Add a marker at the current time."""

    def erase(self, id: str) -> None:
        """Erase all data of a session immediately, and log the erasure; an unknown id is ignored."""

    def find_link(self, link_hash: str) -> str | None:
        """The id of the session whose one-time link has this SHA-256; None once it is erased."""
