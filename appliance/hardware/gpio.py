"""gpiozero and its pin factories, loaded on demand; used by lamps and button."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from appliance.errors import BackendMissing

PinFactory = Literal["default", "lgpio", "rpigpio", "pigpio", "native", "mock"]
"""The pin factories of gpiozero; mock drives no hardware."""


def load_gpiozero(key: str = "lamps.backend", value: str = "gpiozero") -> Any:
    """Import gpiozero, which looks for pins on import; raises `BackendMissing`.

    `key` and `value`: the setting that needs it.
    """
    try:
        return importlib.import_module("gpiozero")
    except Exception as error:  # not only ImportError: libraries raise anything
        instead = 'set lamps.backend = "none"' if key == "lamps.backend" else f"leave {key} out"
        raise BackendMissing(
            f"gpiozero cannot be loaded ({error}); install it, or {instead}", key=key, value=value
        ) from error


def make_pin_factory(name: str) -> Any:
    """The pin factory with this name; raises whatever gpiozero raises."""
    gpiozero = load_gpiozero()
    if name == "default":
        with _writable_working_directory():
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
    with _writable_working_directory():
        return getattr(importlib.import_module(f"gpiozero.pins.{module}"), factory)()


@contextmanager
def _writable_working_directory() -> Iterator[None]:
    """Change to a temporary folder while lgpio is imported: it creates a pipe in the working directory.

    A service cannot write to its working directory (gpiozero issue 1106, lg issue 22). lgpio needs the name
    of the pipe only during the import. `LG_WD` is lgpio's own setting for this; if it is set, do nothing.
    """
    if "lgpio" in sys.modules or "LG_WD" in os.environ:
        yield
        return
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="lgpio-") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            try:
                os.chdir(before)
            except OSError:  # another user's folder, as with `runuser`
                os.chdir("/")
