"""Fetches a package of the npm registry by name, version and digest; unpacks it and never runs it."""

from __future__ import annotations

import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from fetch_models import FetchError, verify


@dataclass(frozen=True)
class Package:
    """A package, and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str


FACE_API = Package(
    "@vladmandic/face-api", "1.7.15", "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
)
"""Face recognition (dlib's, CC0) and expression weights, MIT."""


def unpacked(package: Package, work: Path) -> Path:
    """The folder `package` of the archive, fetched with `npm pack` if it is missing."""
    archive = work / f"{package.name.strip('@').replace('/', '-')}-{package.version}.tgz"
    if not archive.exists():
        command = [
            "npm",
            "pack",
            "--silent",
            "--pack-destination",
            str(work),
            f"{package.name}@{package.version}",
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise FetchError(f"npm could not fetch {package.name} {package.version}:\n{done.stderr.strip()}")
    verify(archive.read_bytes(), package.sha256, str(archive))
    folder = work / "package"
    if not folder.exists():
        with tarfile.open(archive) as files:
            files.extractall(work, filter="data")
    return folder
