"""Files of the system that are links into the current release: an update changes them all at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from device.places import Places

_UNITS = "usr/local/lib/systemd/system"
_DROP_INS = f"{_UNITS}/interview-grader.service.d"
_RUNNING = "opt/interview-grader/current"


@dataclass(frozen=True)
class Link:
    """A link at `path` that names `target`, both absolute."""

    path: Path
    target: Path

    def is_there(self) -> bool:
        """Whether it is, and names its target."""
        return self.path.is_symlink() and os.readlink(self.path) == str(self.target)

    def make(self) -> None:
        """Put it there, in place of whatever stood there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(self.path.name + ".new")
        partial.unlink(missing_ok=True)
        partial.symlink_to(self.target)
        partial.replace(self.path)


def all_links(places: Places, board: str) -> list[Link]:
    """Every link of a device of this kind of board."""
    return [_link(places, path, target) for path, target in _targets(places, board).items()]


def _targets(places: Places, board: str) -> dict[str, str]:
    found = {
        "usr/local/bin/interview-grader": "venv/bin/interview-grader",
        "usr/local/sbin/interview-grader-update": "provisioning/update",
        "usr/lib/interview-grader/board.toml": f"provisioning/boards/{board}.toml",
        f"{_UNITS}/interview-grader.service": "systemd/interview-grader.service",
        f"{_UNITS}/interview-grader-retention.service": "systemd/interview-grader-retention.service",
        f"{_UNITS}/interview-grader-retention.timer": "systemd/interview-grader-retention.timer",
        "etc/sysusers.d/interview-grader.conf": "systemd/interview-grader.sysusers",
        "etc/tmpfiles.d/interview-grader.conf": "systemd/interview-grader.tmpfiles",
        "etc/udev/rules.d/70-interview-grader.rules": "systemd/interview-grader.rules",
    }
    if (places.current / f"provisioning/boards/{board}.conf").exists():
        found[f"{_DROP_INS}/board.conf"] = f"provisioning/boards/{board}.conf"
    return found


def _link(places: Places, path: str, target: str) -> Link:
    return Link(places.root / path, places.root / _RUNNING / target)


def remove_links(places: Places) -> list[Path]:
    """Remove every link of ours, whatever the board was, and the folders that are empty then."""
    folders = sorted({os.path.dirname(path) for path in [*_targets(places, ""), f"{_DROP_INS}/board.conf"]})
    ours = str(places.root / _RUNNING)
    removed = []
    for folder in folders:
        for path in sorted((places.root / folder).glob("*")):
            if path.is_symlink() and os.readlink(path).startswith(f"{ours}/"):
                path.unlink()
                removed.append(path)
    for folder in ("usr/lib/interview-grader", _DROP_INS):
        if (places.root / folder).is_dir() and not any((places.root / folder).iterdir()):
            (places.root / folder).rmdir()
    return removed
