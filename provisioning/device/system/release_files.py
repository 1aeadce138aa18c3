"""System files of a release: copies of its files, and links to its commands.

Copies, not links into the release: `systemctl enable` would follow a link and pin that release.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.bundle import manual
from device.install.undo_record import UndoRecord
from device.layout import Layout
from device.system.files import replacing

UNITS = "etc/systemd/system"
_INSTALLED = "placed"
"""Key of the undo record for the paths that a release has installed."""

BOARD_FILE = "usr/lib/interview-grader/board.toml"
BOARD_UNIT = f"{UNITS}/interview-grader.service.d/board.conf"
_CORAL_UNIT = f"{UNITS}/interview-grader.service.d/coral.conf"
_EDGE_TPU = ("usr/lib/libedgetpu.so*", "usr/lib/*/libedgetpu.so*", "usr/local/lib/libedgetpu.so*")
"""Where the library of a Coral Edge TPU is, if it is installed."""
_BOARD_USERS = "etc/sysusers.d/interview-grader-board.conf"
_COPIES = {
    f"{UNITS}/interview-grader.service": "systemd/interview-grader.service",
    f"{UNITS}/interview-grader-retention.service": "systemd/interview-grader-retention.service",
    f"{UNITS}/interview-grader-retention.timer": "systemd/interview-grader-retention.timer",
    f"{UNITS}/interview-grader-recover.service": "systemd/interview-grader-recover.service",
    f"{UNITS}/interview-grader-gave-up.service": "systemd/interview-grader-gave-up.service",
    f"{UNITS}/interview-grader-look.service": "systemd/interview-grader-look.service",
    f"{UNITS}/interview-grader-look.timer": "systemd/interview-grader-look.timer",
    "etc/sysusers.d/interview-grader.conf": "systemd/interview-grader.sysusers",
    "etc/tmpfiles.d/interview-grader.conf": "systemd/interview-grader.tmpfiles",
    "etc/udev/rules.d/70-interview-grader.rules": "systemd/interview-grader.rules",
}
_POLKIT = {
    "etc/polkit-1/rules.d/50-interview-grader.rules": "systemd/interview-grader.polkit",
    "etc/polkit-1/localauthority/50-local.d/interview-grader.pkla": "systemd/interview-grader.pkla",
}
"""Each only where polkit's folder exists: one is for new versions, the other for those before 0.106."""
_MANUAL = {
    "usr/local/share/man/man1/interview-grader.1": manual.PAGE,
    "usr/local/share/bash-completion/completions/interview-grader": manual.SCRIPTS["bash"],
    "usr/local/share/zsh/site-functions/_interview-grader": manual.SCRIPTS["zsh"],
    "usr/local/share/fish/vendor_completions.d/interview-grader.fish": manual.SCRIPTS["fish"],
}
"""Only if the release includes them: making them needs extra tools."""
_COMMANDS = {
    "usr/local/bin/interview-grader": "provisioning/command",
    "usr/local/sbin/interview-grader-update": "provisioning/update",
}


@dataclass(frozen=True)
class Copy:
    """A file at `path` with the content of `source`. Without a source the file should not exist."""

    path: Path
    source: Path | None

    def is_wanted(self) -> bool:
        """Whether the file should exist."""
        return self.source is not None

    def is_current(self) -> bool:
        """Whether it is up to date."""
        if self.source is None:
            return not self.path.exists()
        try:
            return not self.path.is_symlink() and self.path.read_bytes() == self.source.read_bytes()
        except FileNotFoundError:
            return False

    def install(self) -> None:
        """Install it atomically, replacing an existing file."""
        if self.source is None:
            self.path.unlink(missing_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.write_bytes(self.source.read_bytes())
            partial.chmod(0o644)


@dataclass(frozen=True)
class Link:
    """A link at `path` to `target`, through `current`, so it never changes."""

    path: Path
    target: Path

    def is_wanted(self) -> bool:
        """Always."""
        return True

    def is_current(self) -> bool:
        """Whether it is up to date."""
        return self.path.is_symlink() and os.readlink(self.path) == str(self.target)

    def install(self) -> None:
        """Install it, replacing an existing file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.symlink_to(self.target)


def sysusers(release: Path, board: str) -> list[Path]:
    """The sysusers files of a release: for every board, and for this kind."""
    own = release / "provisioning/boards" / f"{board}.sysusers"
    return [release / "systemd/interview-grader.sysusers", *([own] if own.exists() else [])]


def all_files(layout: Layout, board: str, release: Path) -> list[Copy | Link]:
    """Every system file of this release for this kind of board."""
    boards = release / "provisioning/boards"
    unit = boards / f"{board}.conf"
    copies = [Copy(layout.root / path, release / source) for path, source in _COPIES.items()]
    for path, source in _POLKIT.items():
        there = (layout.root / path).parent.is_dir()
        copies.append(Copy(layout.root / path, release / source if there else None))
    for path, name in _MANUAL.items():
        made = release / manual.PLACE / name
        copies.append(Copy(layout.root / path, made if made.exists() else None))
    copies.append(Copy(layout.root / BOARD_FILE, boards / f"{board}.toml"))
    copies.append(Copy(layout.root / BOARD_UNIT, unit if unit.exists() else None))
    coral = any(path for pattern in _EDGE_TPU for path in layout.root.glob(pattern))
    copies.append(
        Copy(layout.root / _CORAL_UNIT, release / "systemd/interview-grader-coral.conf" if coral else None)
    )
    users = sysusers(release, board)[1:]
    copies.append(Copy(layout.root / _BOARD_USERS, users[0] if users else None))
    links = [Link(layout.root / path, layout.current / target) for path, target in _COMMANDS.items()]
    return [*copies, *links]


def stale_files(layout: Layout, files: Sequence[Copy | Link]) -> list[Path]:
    """Paths that another release has installed and that are not among these files."""
    kept = UndoRecord(layout.record).get(_INSTALLED).split()
    return sorted({layout.root / name for name in kept} - {file.path for file in files if file.is_wanted()})


def install(layout: Layout, files: Sequence[Copy | Link]) -> list[Path]:
    """Install exactly these files; returns the paths that did not exist before.

    Every path is recorded first, so that the next release knows of it after a crash.
    """
    record, old = UndoRecord(layout.record), stale_files(layout, files)
    names = [str(file.path.relative_to(layout.root)) for file in files if file.is_wanted()]
    record.set(_INSTALLED, " ".join([*names, *(str(path.relative_to(layout.root)) for path in old)]))
    new = [file.path for file in files if file.is_wanted() and not os.path.lexists(file.path)]
    for file in files:
        if not file.is_current():
            file.install()
    for path in old:
        path.unlink(missing_ok=True)
    os.sync()  # else a power cut could leave an empty unit
    record.set(_INSTALLED, " ".join(names))
    return new


def remove_all(layout: Layout) -> None:
    """Remove all of them, and our own folders that become empty."""
    for name in (
        *UndoRecord(layout.record).get(_INSTALLED).split(),
        *_COPIES,
        *_POLKIT,
        *_MANUAL,
        *_COMMANDS,
        BOARD_FILE,
        BOARD_UNIT,
        _CORAL_UNIT,
        _BOARD_USERS,
    ):
        (layout.root / name).unlink(missing_ok=True)
    for folder in (BOARD_FILE, BOARD_UNIT):
        parent = (layout.root / folder).parent
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
