"""gpiozero: loaded only when wanted, and how its pins are had. For lamps and button."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from appliance.errors import BackendMissing

Factory = Literal["default", "lgpio", "rpigpio", "pigpio", "native", "mock"]
"""The pin factories of gpiozero; mock drives no hardware."""


def load_gpiozero(key: str = "lamps.backend", value: str = "gpiozero") -> Any:
    """The gpiozero package, or `BackendMissing`. It looks for pins when it is imported: only if wanted.

    `key` and `value`: the setting that wants it.
    """
    try:
        return importlib.import_module("gpiozero")
    except Exception as error:  # not only ImportError: whatever the vendor's code raises
        instead = 'set lamps.backend = "none"' if key == "lamps.backend" else f"leave {key} out"
        raise BackendMissing(
            f"gpiozero cannot be loaded ({error}); install it, or {instead}", key=key, value=value
        ) from error


def make_factory(name: str) -> Any:
    """A pin factory by name; raises what gpiozero raises."""
    gpiozero = load_gpiozero()
    if name == "default":
        gpiozero.Device.ensure_pin_factory()
        return gpiozero.Device.pin_factory
    if name == "mock":
        mock = importlib.import_module("gpiozero.pins.mock")
        return mock.MockFactory(pin_class=mock.MockPWMPin)
    module, factory = {
        "lgpio": ("lgpio", "LGPIOFactory"),
        "rpigpio": ("rpigpio", "RPiGPIOFactory"),
        "pigpio": ("pigpio", "PiGPIOFactory"),
        "native": ("native", "NativeFactory"),
    }[name]
    return getattr(importlib.import_module(f"gpiozero.pins.{module}"), factory)()
