"""All backends by name, and how to load their classes. Only this file knows where a backend is."""

from __future__ import annotations

import difflib
import functools
import importlib
from importlib.metadata import entry_points
from typing import Any, Literal, overload

from appliance.errors import BackendMissing
from appliance.ports import (
    Backend,
    CameraBackend,
    CameraDefaults,
    EngineBackend,
    EngineDefaults,
    LampsBackend,
)

CAMERAS = {
    "csi": "appliance.cameras.csi:Csi",
    "usb": "appliance.cameras.usb:Usb",
    "jetson": "appliance.cameras.jetson:Jetson",
    "stream": "appliance.cameras.stream:Stream",
    "browser": "appliance.cameras.browser:Browser",
    "replay": "appliance.cameras.replay:Replay",
    "demo": "appliance.cameras.replay:Demo",
}
ENGINES = {
    "tflite": "appliance.inference.engines.tflite:TFLite",
    "coral": "appliance.inference.engines.coral:Coral",
    "tensorrt": "appliance.inference.engines.tensorrt:TensorRT",
    "replay": "appliance.inference.engines.replay:Replay",
}
LAMPS = {
    "none": "appliance.hardware.lamps:NoLamps",
    "gpiozero": "appliance.hardware.gpio_lamps:GpioLamps",
    "jetson": "appliance.hardware.jetson_lamps:JetsonLamps",
}
KINDS = {"camera": CAMERAS, "engine": ENGINES, "lamps": LAMPS}
"""Backends by kind. A kind is also the section of the configuration that chooses one."""

_ENTRY_POINTS = {
    "camera": "interview_grader.cameras",
    "engine": "interview_grader.engines",
    "lamps": "interview_grader.lamps",
}
"""Groups of entry points by which other packages add backends."""

_DEFAULTS: dict[str, type] = {"camera": CameraDefaults, "engine": EngineDefaults}


@overload
def load(kind: Literal["camera"], name: str) -> CameraBackend: ...
@overload
def load(kind: Literal["engine"], name: str) -> EngineBackend: ...
@overload
def load(kind: Literal["lamps"], name: str) -> LampsBackend: ...
@overload
def load(kind: str, name: str) -> Backend: ...
def load(kind: str, name: str) -> Any:
    """The class of a backend, ours first, then other packages' backends; the same class each time.

    Raises `BackendMissing` for an unknown name, or a class that cannot be imported.
    """
    return _load(kind, name)


def names(kind: str) -> list[str]:
    """The names of all backends of a kind, ours first."""
    return [*KINDS[kind], *(name for name in _foreign_backends(kind) if name not in KINDS[kind])]


@functools.cache
def _load(kind: str, name: str) -> type:
    target = KINDS[kind].get(name) or _foreign_backends(kind).get(name)
    if target is None:
        raise BackendMissing(_unknown(kind, name), key=f"{kind}.backend", value=name)
    module, _, attribute = target.partition(":")
    try:
        found: type = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BackendMissing(f"cannot be loaded: {error}", key=f"{kind}.backend", value=name) from error
    return _completed(found, _DEFAULTS[kind]) if kind in _DEFAULTS else found


def _foreign_backends(kind: str) -> dict[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=_ENTRY_POINTS[kind])}


def _completed(backend: type, defaults: type) -> type:
    """The class, with defaults added for what a class of another package does not define."""
    members = (name for name in vars(defaults) if not name.startswith("_"))
    if all(hasattr(backend, name) for name in members):
        return backend
    return type(backend.__name__, (backend, defaults), {})


def _unknown(kind: str, name: str) -> str:
    known = names(kind) + (["auto"] if kind in ("camera", "engine") else [])
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} backend; {meant}known: {', '.join(sorted(known))}"
