"""Prints what the wheels in a folder need on a given Python and machine that is not among them.

usage: unmet.py FOLDER PYTHON ARCH EXTRA, with a Python that has pip, which brings the parser of requirements.
"""

from __future__ import annotations

import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name


def main(folder: Path, python: str, arch: str, extra: str) -> None:
    """Print one requirement a line."""
    about = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": arch,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    wheels = sorted(folder.glob("*.whl"))
    there = {canonicalize_name(wheel.name.split("-")[0]) for wheel in wheels}
    for wheel in wheels:
        extras = [extra] if wheel.name.startswith("interview_grader-") else [""]
        for requirement in map(Requirement, requires(wheel)):
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({**about, "extra": each}) for each in extras
            )
            if wanted and canonicalize_name(requirement.name) not in there:
                print(f"{requirement.name}{requirement.specifier}")


def requires(wheel: Path) -> list[str]:
    """What a wheel's metadata says that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        names = (name for name in archive.namelist() if name.count("/") == 1)
        (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name)).get_all("Requires-Dist") or []


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
