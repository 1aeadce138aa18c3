"""gpiozero: loaded only when wanted, and how its pins are had. For lamps and button."""

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


def make_pin_factory(name: str) -> Any:
    """A pin factory by name; raises what gpiozero raises."""
    gpiozero = load_gpiozero()
    if name == "default":
        with _where_files_may_be_made():
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
    with _where_files_may_be_made():
        return getattr(importlib.import_module(f"gpiozero.pins.{module}"), factory)()


@contextmanager
def _where_files_may_be_made() -> Iterator[None]:
    """lgpio, when it is imported, makes a pipe in the working directory, and needs its name no longer.

    A service's working directory cannot be written to (gpiozero issue 1106, lg issue 22). `LG_WD` is lgpio's
    own setting: whoever set it has seen to this.
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
            except OSError:  # another user's folder, from which `runuser` came
                os.chdir("/")
