"""TFLite models on a Coral Edge TPU: libedgetpu as a delegate of the installed TFLite runtime.

Written from https://coral.ai/docs/edgetpu/tflite-python; it has not run on a real Edge TPU.
docs/accelerators.md explains how to compile models for it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from pydantic import Field

from appliance.errors import BackendMissing, EngineError, ModelError
from appliance.inference.compiled import LISTING, find_compiled, refuse_foreign_owner
from appliance.inference.engines.tflite import TFLite, TFLiteSettings, load_runtime
from appliance.inference.manifest import file_digest

SYS = Path("/sys")
_ON_USB = {("1a6e", "089a"), ("18d1", "9302")}
"""Vendor and product before and after the firmware is loaded, as in systemd/interview-grader.rules."""
_ON_PCI = {("0x1ac1", "0x089a")}


class CoralSettings(TFLiteSettings):
    """Settings of `engine.backend = "coral"`."""

    library: str = Field(
        "libedgetpu.so.1", min_length=1, description="The Edge TPU library: a name or a full path."
    )
    device: str = Field(
        "usb",
        pattern=r"^(usb|pci)?(:\d+)?$",
        description="Which Edge TPU to use: usb, pci, one by number such as usb:0; empty: any.",
    )
    compiled: str = Field(
        "/var/lib/interview-grader/edgetpu",
        description="Folder of models compiled for the Edge TPU, each NAME_edgetpu.tflite.",
    )
    probe_s: float = Field(
        60.0, ge=0.1, le=86400, description="Seconds before a failed Edge TPU is tried again."
    )


class Coral(TFLite):
    """One compiled model on the Edge TPU. Belongs to one thread."""

    Settings = CoralSettings
    needs_fallback = True  # a stick can be unplugged
    parallel = False  # one stick runs one model at a time

    def __init__(self, model: Path, settings: CoralSettings | None = None) -> None:
        """`model`: the model for the CPU; the compiled model is found by its name.

        Raises `BackendMissing` without the library, `ModelError` without the compiled model, and
        `EngineError` if no Edge TPU responds.
        """
        settings = settings or CoralSettings()
        if not model.is_file():
            raise ModelError(f"{model}: no such file; restore it")
        compiled = Path(settings.compiled) / f"{model.stem}_edgetpu.tflite"
        if not _is_file(compiled):
            raise ModelError(f"{compiled}: no such file; compile {model.name}: docs/accelerators.md")
        refuse_foreign_owner(compiled)
        if (compiled.parent / LISTING).exists():  # made by models/build/compile_edgetpu.py
            find_compiled(model, compiled.parent, compiled.name)
        _check_library(settings.library)
        runtime = load_runtime(settings.runtime)
        options = {"device": settings.device} if settings.device else {}
        try:
            delegate = runtime.load_delegate(settings.library, options)
        except (ValueError, RuntimeError, OSError) as error:
            where = settings.device or "usb or pci"
            raise EngineError(f"no Edge TPU responds at {where}; plug it in, or replug it") from error
        super().__init__(compiled, settings, [delegate])
        self.description = f"Edge TPU through {self.description}"

    @staticmethod
    def inventory(settings: CoralSettings) -> str:
        """The digest of the list of compiled models, and whether the kernel sees an Edge TPU.

        Raises `BackendMissing` without the library, `ModelError` without the models.
        """
        _check_library(settings.library)
        compiled = file_digest(Path(settings.compiled) / LISTING)[:12]
        return f"{compiled} {'plugged in' if _is_plugged_in() else 'not plugged in'}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        remedy = "use sudo, or the CPU with --set engine.backend=tflite"
        raise ModelError(f"{path}: cannot be accessed ({error.strerror}); {remedy}") from error


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
    except OSError:  # just unplugged
        return "", ""


_FUNCTIONS = ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate")


def _check_library(library: str) -> None:
    """Raises `BackendMissing` unless the library loads; the runtimes themselves print a traceback."""
    try:
        for name in _FUNCTIONS:
            getattr(ctypes.CDLL(library), name)
    except (OSError, AttributeError) as error:
        raise BackendMissing(
            f"{error}; install the Edge TPU runtime (libedgetpu1-std), see docs/accelerators.md",
            key="engine.library",
            value=library,
        ) from error
