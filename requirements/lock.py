"""Resolve the dependencies of pyproject.toml and write the locks in this folder: `make lock`.

A lock is for every supported Python on both architectures: markers say what differs. Versions that still
fit stay; `make lock ARGS=--upgrade` selects the newest ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "pyproject.toml"
RUNTIMES = ("litert", "litert-numpy1", "tflite-runtime")
"""Extras of a complete environment: each lock has everything the appliance needs."""

ADDITIONS = {
    "jetpack6": ("jetpack6",),
    "jetpack7": ("jetpack7",),
    "test": ("test", "dev"),
    "manual": ("manual",),
    "quantiser": ("quantiser", "onnx"),
}
"""Lock -> the extras in it, which are installed in addition to one of the above."""

_UV = (sys.executable, "-m", "uv", "pip", "compile", "--no-config", "--quiet")
_FORM = ("--universal", "--python-version=3.10", "--generate-hashes", "--no-annotate")
_WHEELS_ALONE = ("--only-binary=:all:", "--emit-build-options")
"""Options that pip reads in the lock, so that it builds nothing from source when installing."""

_WITH_SOURCES = ("manual",)
"""Locks that name a package without a wheel (argparse-manpage); never installed on a device."""

_LIMITS = HERE / "limits.in"


def main(arguments: list[str]) -> None:
    """Write every lock; raises `CalledProcessError` if there is no solution; uv prints why."""
    project = tomllib.loads(PROJECT.read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    first, *others = (HERE / f"{name}.txt" for name in RUNTIMES)
    _resolve(first, [str(PROJECT), f"--extra={first.stem}", *arguments])
    for lock in others:
        shutil.copy(first, lock)  # uv keeps the versions that it finds there and that fit
        _resolve(lock, [str(PROJECT), f"--extra={lock.stem}"])
    wanted = {"build": project["build-system"]["requires"]}
    for name, members in ADDITIONS.items():
        wanted[name] = [line for each in members for line in extras[each]]
    for name, lines in wanted.items():
        # As a constraint, the first lock would also forbid building from source.
        same = [] if name in _WITH_SOURCES else [f"--constraints={first}"]
        _resolve(HERE / f"{name}.txt", ["-", *same, *arguments], lines)
    # In an environment of its own: its versions need not agree with those of the appliance.
    _resolve(HERE / "docs.txt", ["-", *arguments], extras["docs"])


def _resolve(lock: Path, arguments: list[str], requirements: Sequence[str] = ()) -> None:
    kinds = () if lock.stem in _WITH_SOURCES else _WHEELS_ALONE
    said = ("--custom-compile-command=make lock", f"--output-file={lock}", f"--constraints={_LIMITS}")
    subprocess.run(
        [*_UV, *_FORM, *kinds, *said, *arguments],
        input="\n".join(requirements),
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"},  # one is enough to resolve for all
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
