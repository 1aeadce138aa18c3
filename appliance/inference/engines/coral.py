"""TFLite models on a Coral Edge TPU: libedgetpu as a delegate of whichever TFLite runtime is installed.

Written against https://coral.ai/docs/edgetpu/tflite-python; it has not run on a real Edge TPU.
docs/accelerators.md says how to compile models for it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from pydantic import Field

from appliance.errors import BackendMissing, EngineError, ModelError
from appliance.inference.compiled import LISTING, digest, find_derived, refuse_strange
from appliance.inference.engines.tflite import TFLite, TFLiteSettings, load_runtime

SYS = Path("/sys")
_ON_USB = {("1a6e", "089a"), ("18d1", "9302")}
"""Before and after its firmware was loaded, as in systemd/interview-grader.rules."""
_ON_PCI = {("0x1ac1", "0x089a")}


class CoralSettings(TFLiteSettings):
    """Settings of `engine.backend = "coral"`."""

    library: str = Field(
        "libedgetpu.so.1", min_length=1, description="The Edge TPU's library: a name, or a whole path."
    )
    device: str = Field(
        "usb",
        pattern=r"^(usb|pci)?(:\d+)?$",
        description="Which Edge TPU: usb, pci, one by number as usb:0, or empty for any.",
    )
    compiled: str = Field(
        "/var/lib/interview-grader/edgetpu",
        description="Folder of models compiled for the Edge TPU, each NAME_edgetpu.tflite.",
    )
    probe_s: float = Field(
        60.0, ge=0.1, le=86400, description="After a fault the Edge TPU is tried again so often, in s."
    )


class Coral(TFLite):
    """One compiled model on the Edge TPU. Not thread-safe: it belongs to the thread that uses it."""

    Settings = CoralSettings
    vanishes = True
    """A stick can be pulled: a fault means the CPU at once, and the stick again after a probe."""

    def __init__(self, model: Path, settings: CoralSettings | None = None) -> None:
        """`model`: the one for the CPU; its compiled twin is looked for by its name.

        Raises `BackendMissing` without the library, `ModelError` without the twin, and `EngineError` when no
        Edge TPU answers.
        """
        settings = settings or CoralSettings()
        if not model.is_file():
            raise ModelError(f"{model}: no such file; restore it")
        compiled = Path(settings.compiled) / f"{model.stem}_edgetpu.tflite"
        if not _is_file(compiled):
            raise ModelError(f"{compiled}: no such file; compile {model.name} as docs/accelerators.md says")
        refuse_strange(compiled)
        if (compiled.parent / LISTING).exists():  # made by models/build/compile_edgetpu.py
            find_derived(model, compiled.parent, compiled.name)
        _need(settings.library)
        runtime = load_runtime(settings.runtime)
        options = {"device": settings.device} if settings.device else {}
        try:
            delegate = runtime.load_delegate(settings.library, options)
        except (ValueError, RuntimeError, OSError) as error:
            where = settings.device or "usb or pci"
            raise EngineError(f"no Edge TPU answers at {where}: plug it in (again)") from error
        super().__init__(compiled, settings, [delegate])
        self.description = f"Edge TPU through {self.description}"

    @staticmethod
    def there(settings: Any) -> str:
        """What is there for it, without a stick being touched; raises `BackendMissing` or `ModelError`."""
        _need(settings.library)
        compiled = digest(Path(settings.compiled) / LISTING)[:12]
        return f"{compiled} {'plugged in' if _is_plugged_in() else 'not plugged in'}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        remedy = "take the CPU with --set engine.backend=tflite, or put sudo in front"
        raise ModelError(f"{path}: cannot be looked at ({error.strerror}); {remedy}") from error


def _is_plugged_in() -> bool:
    """Whether the kernel sees an Edge TPU, on USB or on PCI."""
    usb = (SYS / "bus/usb/devices").glob("*/idVendor")
    pci = (SYS / "bus/pci/devices").glob("*/vendor")
    return any(_ids(path, "idProduct") in _ON_USB for path in usb) or any(
        _ids(path, "device") in _ON_PCI for path in pci
    )


def _ids(vendor: Path, product: str) -> tuple[str, str]:
    try:
        found = (path.read_text(encoding="ascii").strip() for path in (vendor, vendor.with_name(product)))
        return next(found), next(found)
    except OSError:  # pulled just now
        return "", ""


_FUNCTIONS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")


def _need(library: str) -> None:
    """Raises `BackendMissing` unless the library can be loaded; the runtimes themselves print a traceback."""
    try:
        for name in _FUNCTIONS:
            getattr(ctypes.CDLL(library), name)
    except (OSError, AttributeError) as error:
        raise BackendMissing(
            f"{error}; install the Edge TPU runtime (libedgetpu1-std), see docs/accelerators.md",
            key="engine.library",
            value=library,
        ) from error
