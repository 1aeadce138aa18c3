"""`provisioning/release`: make a signed bundle from this checkout."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from device.arguments import Parser
from device.bundle import container, signing, tag, wheels
from device.errors import DeviceError, last_error

KEY = Path("~/.config/interview-grader/release_key")
"""Created at the first release. Anyone who has it can install software on the devices."""


def main(arguments: list[str], checkout: Path) -> int:
    """Returns the exit code: 0 done, 1 a fault, 2 the user must change something."""
    parser = Parser(
        prog="provisioning/release", description="Make a signed release bundle from this checkout."
    )
    host = f"{sys.version_info[0]}.{sys.version_info[1]}"
    parser.add_argument(
        "--arch", default=platform.machine(), help="the device's `uname -m` (default: this computer's)"
    )
    parser.add_argument(
        "--python", default=host, help="the device's Python, such as 3.11 (default: this one)"
    )
    parser.add_argument(
        "--key", type=Path, default=KEY.expanduser(), help=f"OpenSSH private key (default: {KEY})"
    )
    parser.add_argument(
        "--out", type=Path, default=checkout / "dist", metavar="FOLDER", help="default: dist/"
    )
    parser.add_argument(
        "--no-tag",
        action="store_true",
        help="build for a trial: do not check the changelog and for uncommitted files, and make no tag",
    )
    options = parser.parse_args(arguments)
    try:
        return _make(checkout, options)
    except (DeviceError, OSError) as error:
        print(f"release: {error}", file=sys.stderr)
        return error.code if isinstance(error, DeviceError) else 1


def _make(checkout: Path, options: argparse.Namespace) -> int:
    key: Path = options.key
    version = None if options.no_tag else tag.check(checkout)
    if not key.exists():
        signing.make_key(key)
        print(f"release: created {key}: keep a copy in a safe place; devices accept releases signed with it")
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory() as models,
        tempfile.TemporaryDirectory() as pages,
    ):
        print(f"release: gathering wheels for {options.arch}, Python {options.python}")
        wheels.gather(checkout, Path(folder), arch=options.arch, python=options.python)
        jetson = (options.arch, options.python) in wheels.JETPACKS
        made = container.build(
            checkout,
            options.out,
            arch=options.arch,
            python=options.python,
            wheels=Path(folder),
            key=key,
            onnx=Path(models) if jetson and _export_models(checkout, Path(models)) else None,
            manual_folder=Path(pages) if _make_manual(checkout, Path(pages)) else None,
        )
    if version is not None:
        print(f"release: this commit is {tag.tag(checkout, version)}; publish it with git push --follow-tags")
    print(f"release: {made} ({made.stat().st_size / 1e6:.0f} MB)")
    print(f"release: {made.with_suffix('.cdx.json').name} lists its contents")
    print(f"release: signed; to accept it, devices need this line: {signing.public_line(key).strip()}")
    return 0


def _export_models(checkout: Path, into: Path) -> bool:
    """Export the models as ONNX into a folder; returns whether that worked. Without them the CPU is used."""
    program = checkout / "models/build/export_onnx.py"
    return _run_optional([str(program), "--out", str(into)], "models for TensorRT", "onnx,quantiser")


def _make_manual(checkout: Path, into: Path) -> bool:
    """Write the manual page and completions into a folder; returns whether that worked."""
    program = checkout / "provisioning/device/bundle/manual.py"
    return _run_optional([str(program), str(into)], "the manual page and completions", "manual")


def _run_optional(program: list[str], what: str, extra: str) -> bool:
    done = subprocess.run([sys.executable, *program], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = last_error(done.stderr)
        print(f"release: continuing without {what} ({reason}); to include it: pip install -e '.[{extra}]'")
    return done.returncode == 0
