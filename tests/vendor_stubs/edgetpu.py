"""A stand-in for an Edge TPU: a real external delegate (edgetpu.c), and models named like compiled ones."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
MOOD = "EDGETPU_DOUBLE"
"""The environment variable with the path of the file that controls the stick; see edgetpu.c."""


class Stick:
    """A library, a folder of "compiled" models, and a control file."""

    def __init__(self, folder: Path, *models: Path) -> None:
        self.mood_file = folder / "mood"
        compiled = folder / "compiled"
        compiled.mkdir(exist_ok=True)
        for model in models:
            shutil.copy(model, compiled / f"{model.stem}_edgetpu.tflite")
        self.settings: dict[str, str] = {"library": str(library()), "compiled": str(compiled)}

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process with this stick."""
        return {MOOD: str(self.mood_file)}

    @property
    def arguments(self) -> list[str]:
        """The arguments of a command that uses it."""
        chosen = {"backend": "coral", **self.settings}
        return [part for key, value in chosen.items() for part in ("--set", f"engine.{key}='{value}'")]

    def is_now(self, mood: str) -> None:
        """`absent`, `stuck`, `vanish`, `hang`, or anything else for a working stick."""
        partial = self.mood_file.with_suffix(".part")
        partial.write_text(mood)
        partial.replace(self.mood_file)


@functools.cache
def library() -> Path:
    """The delegate, compiled once per run."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    built = Path(tempfile.mkdtemp()) / "libedgetpu_double.so"
    strict = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", *strict, "-o", built, SOURCE], check=True)
    return built
