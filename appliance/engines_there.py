"""Whether the engines of this device were measured as they are now, for `engine.backend = "auto"`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from appliance import ranking, registry
from appliance.build_engine import CPU, fitted, models_in_use
from appliance.config import Config
from appliance.engines.tflite import load_runtime
from appliance.errors import ApplianceError

ACCELERATORS = ("coral", "tensorrt")


def unmeasured(config: Config) -> str:
    """Why `bench --engines` is due, "" if it is not; never, where the owner chose an engine."""
    if config.engine.backend != "auto":
        return ""
    found = ranking.load(config.state_dir)
    if isinstance(found, str):
        return found
    if found.models != models_in_use(config):
        return "other models were measured than those in use"
    if found.there != (now := what_is_there(config)):
        return f"measured was {found.there or 'something else'}, and here is {now}"
    return ""


def what_is_there(config: Config) -> str:
    """The runtime and the accelerators' software with versions, and what was made for them; in one line."""
    return ", ".join(_parts(config))


def _parts(config: Config) -> Iterator[str]:
    cpu: Any = fitted(config, CPU, {}).settings
    runtime = load_runtime(cpu.runtime)
    yield f"{runtime.package} {runtime.version}"
    for backend in ACCELERATORS:
        kind: Any = registry.load("engine", backend)
        with contextlib.suppress(ApplianceError):
            yield f"{backend} {kind.there(fitted(config, backend, {}).settings)}"
