"""Signed bundles of this checkout for the tests; the wheels of others are kept in the cache between runs."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from device.bundle.own_wheel import LOCKS, make_wheel

from tests.e2e.device.booted import cache
from tests.machine import ROOT

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
"""Suite -> its Python."""

_MACHINE = "x86_64"


def make_bundle(suite: str, into: Path) -> Path:
    """A bundle for a device of this suite in folder `into`, and beside it `key` and `signers`."""
    into.mkdir(parents=True, exist_ok=True)
    key = into / "key"
    if not key.exists():
        _provisioning(f"signing.make_key(Path({str(key)!r}))")
        line = _provisioning(f"print(signing.public_line(Path({str(key)!r})), end='')")
        (into / "signers").write_text(line)
    with tempfile.TemporaryDirectory() as folder:
        wheels = Path(folder, "wheels")
        shutil.copytree(gathered(PYTHONS[suite]), wheels)
        for old in wheels.glob("interview_grader-*.whl"):
            old.unlink()
        make_wheel(sys.executable, ROOT, wheels)
        pages = Path(folder, "manual")
        _must(sys.executable, str(ROOT / "provisioning/device/bundle/manual.py"), str(pages))
        made = _provisioning(
            f"print(container.build(Path({str(ROOT)!r}), Path({str(into)!r}), arch={_MACHINE!r}, "
            f"python={PYTHONS[suite]!r}, wheels=Path({str(wheels)!r}), key=Path({str(key)!r}), "
            f"manual_folder=Path({str(pages)!r})))"
        )
    return Path(made.strip())


def gathered(python: str, machine: str = _MACHINE) -> Path:
    """A folder with every wheel that this checkout needs there, made anew when the locks change."""
    how = [ROOT / "provisioning/device/bundle/wheels.py", *sorted((ROOT / LOCKS).glob("*.txt"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in how)).hexdigest()[:12]
    kept = cache() / f"wheels-{python}-{machine}-{digest}"
    if not kept.exists():
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache(), prefix="making-") as folder:
            wheels = Path(folder, "wheels")
            wheels.mkdir()
            places = f"Path({str(ROOT)!r}), Path({str(wheels)!r})"
            _provisioning(f"wheels.gather({places}, arch={machine!r}, python={python!r})")
            with contextlib.suppress(OSError):  # another run was faster
                wheels.rename(kept)
    return kept


def _provisioning(call: str) -> str:
    """Run a line of Python that uses the modules of the provisioning; what it printed."""
    program = f"from pathlib import Path; from device.bundle import container, signing, wheels; {call}"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT / "provisioning", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
