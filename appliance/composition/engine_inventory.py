"""Whether the engines of this device were measured as they are now, for `engine.backend = "auto"`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from appliance import registry
from appliance.composition.engine import fitted, models_in_use
from appliance.configuration.load import Config
from appliance.errors import ApplianceError
from appliance.inference import ranking


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
    for backend in registry.ENGINES:
        kind: Any = registry.load("engine", backend)
        if not hasattr(kind, "there"):  # a recording of answers
            continue
        with contextlib.suppress(ApplianceError):
            yield f"{backend} {kind.there(fitted(config, backend, {}).settings)}"
