"""An Edge TPU without one: a real external delegate (edgetpu.c), and models named like compiled ones."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
MOOD = "EDGETPU_DOUBLE"
"""The environment variable that names the file with the stick's mood; see edgetpu.c."""


class Stick:
    """A library, a folder of "compiled" models, and a mood."""

    def __init__(self, folder: Path, *models: Path) -> None:
        self.mood_file = folder / "mood"
        compiled = folder / "compiled"
        compiled.mkdir(exist_ok=True)
        for model in models:
            shutil.copy(model, compiled / f"{model.stem}_edgetpu.tflite")
        self.settings: dict[str, str] = {"library": str(library()), "compiled": str(compiled)}

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to have this stick."""
        return {MOOD: str(self.mood_file)}

    @property
    def arguments(self) -> list[str]:
        """For a command that is to use it."""
        chosen = {"backend": "coral", **self.settings}
        return [part for key, value in chosen.items() for part in ("--set", f"engine.{key}='{value}'")]

    def is_now(self, mood: str) -> None:
        """`absent`, `stuck`, `vanish`, `hang`, or anything else: well."""
        partial = self.mood_file.with_suffix(".part")
        partial.write_text(mood)
        partial.replace(self.mood_file)


@functools.cache
def library() -> Path:
    """The delegate, compiled once a run."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    built = Path(tempfile.mkdtemp()) / "libedgetpu_double.so"
    strict = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", *strict, "-o", built, SOURCE], check=True)
    return built
