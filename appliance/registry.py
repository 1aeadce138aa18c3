"""Every backend by name, and how to load one. The only file that knows where a backend lives."""

from __future__ import annotations

import difflib
import importlib
from importlib.metadata import entry_points
from typing import Any

from appliance.errors import BackendMissing

CAMERAS = {
    "csi": "appliance.cameras.csi:Csi",
    "usb": "appliance.cameras.usb:Usb",
    "jetson": "appliance.cameras.jetson:Jetson",
    "replay": "appliance.cameras.replay:Replay",
    "demo": "appliance.cameras.replay:Demo",
}
VIDEOS = ("replay", "demo")
"""Cameras whose frames may be cut together: after a cut others may be in view."""

ENGINES = {
    "tflite": "appliance.inference.engines.tflite:TFLite",
    "coral": "appliance.inference.engines.coral:Coral",
    "tensorrt": "appliance.inference.engines.tensorrt:TensorRT",
    "replay": "appliance.inference.engines.replay:Replay",
}
SINKS = {
    "stream": "appliance.sinks.stream:Stream",
    "lamps": "appliance.sinks.lamps:LampSink",
    "recorder": "appliance.sinks.recorder:Recorder",
}
LAMPS = {
    "none": "appliance.sinks.lamps:NoLamps",
    "gpiozero": "appliance.sinks.lamps:GpioLamps",
    "jetson": "appliance.hardware.jetson_lamps:JetsonLamps",
}
# Groups of entry points, by kind; as in `interview_grader.cameras`.
_GROUPS = {"camera": "cameras", "engine": "engines", "sink": "sinks", "lamps": "lamps"}
KINDS = {"camera": CAMERAS, "engine": ENGINES, "sink": SINKS, "lamps": LAMPS}


def load(kind: str, name: str) -> Any:
    """The class of a backend; raises `BackendMissing` for an unknown name or one that cannot be imported.

    Other packages add backends by entry points in groups like `interview_grader.cameras`, looked up second.
    """
    target = KINDS[kind].get(name) or _from_outside(kind).get(name)
    if target is None:
        raise BackendMissing(_unknown(kind, name), key=f"{kind}.backend", value=name)
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BackendMissing(f"cannot be loaded: {error}", key=f"{kind}.backend", value=name) from error


def names(kind: str) -> list[str]:
    """The names of all backends of a kind, ours first."""
    return [*KINDS[kind], *(name for name in _from_outside(kind) if name not in KINDS[kind])]


def _from_outside(kind: str) -> dict[str, str]:
    return {entry.name: entry.value for entry in entry_points(group=f"interview_grader.{_GROUPS[kind]}")}


def _unknown(kind: str, name: str) -> str:
    known = names(kind) + (["auto"] if kind in ("camera", "engine") else [])
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} backend; {meant}known: {', '.join(sorted(known))}"
