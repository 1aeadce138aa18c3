"""Stand-ins for NVIDIA's packages at their import names, and models listed as exported."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from appliance.inference.compiled import LISTING

PACKAGES = Path(__file__).parent / "nvidia"
_MODULES = ("tensorrt", "cuda", "cuda.bindings", "cuda.bindings.runtime")


def install(patch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """Freshly imported: tensorrt and cuda-python's runtime."""
    patch.syspath_prepend(str(PACKAGES))
    for name in _MODULES:
        patch.setitem(sys.modules, name, None)  # so that it is restored
        patch.delitem(sys.modules, name)
    return importlib.import_module("tensorrt"), importlib.import_module("cuda.bindings.runtime")


def exported(folder: Path, models: Iterable[Path]) -> dict[str, str]:
    """Settings of the engine: a folder with these models "as ONNX", and one for its plans."""
    onnx = folder / "onnx"
    onnx.mkdir()
    listing = {}
    for model in models:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        for name in (f"{model.stem}.onnx", f"{model.stem}_int8.onnx"):
            shutil.copyfile(model, onnx / name)
            listing[name] = {"sha256": digest, "from": digest}
    (onnx / LISTING).write_text(json.dumps(listing))
    return {"onnx": str(onnx), "plans": str(folder / "plans")}
