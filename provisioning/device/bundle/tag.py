"""What a release must fulfil before it is made, and its tag in Git."""

from __future__ import annotations

import datetime
import re
import subprocess
from pathlib import Path

from device.bundle.container import version_in
from device.errors import BundleError, last_error

CHANGELOG = "CHANGELOG.md"


def check(checkout: Path) -> str:
    """Check that this commit can be released; returns the version. Raises `BundleError`.

    The changelog has a dated section of the version, nothing is uncommitted, and no other commit has the tag.
    """
    version = version_in(checkout)
    _check_changelog(checkout / CHANGELOG, version)
    if changed := _git(checkout, "status", "--porcelain").splitlines():
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise BundleError(f"{changed[0][3:]}{more}: not committed; commit first, or build with --no-tag")
    tagged = _commit(checkout, f"refs/tags/v{version}")
    if tagged and tagged != _commit(checkout, "HEAD"):
        raise BundleError(
            f"v{version} is the tag of another commit ({tagged[:10]}); "
            "raise __version__ in appliance/__init__.py, or build with --no-tag"
        )
    return version


def tag(checkout: Path, version: str) -> str:
    """Tag this commit unless it has the tag; returns the tag. Raises `BundleError`."""
    name = f"v{version}"
    if not _commit(checkout, f"refs/tags/{name}"):
        _git(checkout, "tag", "--annotate", "--message", f"Interview Grader {version}", name)
    return name


def _check_changelog(path: Path, version: str) -> None:
    expected = f"expected a heading `## [{version}] - YYYY-MM-DD` with the date of the release"
    text = path.read_text("utf-8") if path.is_file() else ""
    found = re.search(rf"^## \[{re.escape(version)}\] - (\S+)$\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    if found is None:
        raise BundleError(f"{path.name}: no section of version {version}; {expected}")
    try:
        datetime.datetime.strptime(found[1], "%Y-%m-%d")
    except ValueError:
        raise BundleError(f"{path.name}: version {version} has the date {found[1]!r}; {expected}") from None
    if not found[2].strip():
        raise BundleError(f"{path.name}: the section of version {version} is empty; describe what changed")


def _commit(checkout: Path, name: str) -> str:
    """The commit that a name leads to, "" if there is no such name."""
    command = ["git", "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False).stdout.strip()


def _git(checkout: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=checkout, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BundleError("git is not installed; install it, or build with --no-tag") from None
    if done.returncode:
        raise BundleError(
            f"git {arguments[0]} failed ({last_error(done.stderr)}); correct that, or build with --no-tag"
        )
    return done.stdout
