"""Applies a release to the system around it, by the release's own code, after a switch.

Files that only another release has are removed, so a rollback restores the same system.
"""

from __future__ import annotations

from pathlib import Path

from device.install.source import HERE
from device.install.undo_record import UndoRecord
from device.layout import ENABLED_UNITS, Layout
from device.system import accounts, board, packages, release_files, service
from device.system.shell import try_run


def apply_release(layout: Layout) -> None:
    """Install the files, users, folders, device rules and units of the current release, if there is one.

    A new unit that starts with the system is enabled. A unit that the owner has disabled stays disabled.
    """
    if not layout.current.exists():
        return
    kind = board.find_board().name
    files = release_files.all_files(layout, kind, layout.current)
    accounts.create(release_files.sysusers(layout.current, kind), UndoRecord(layout.record))
    for path in release_files.stale_files(layout, files):
        if path.parent == layout.root / release_files.UNITS:
            try_run("systemctl", "--quiet", "disable", "--now", path.name)
    came = {path.name for path in release_files.install(layout, files)}
    service.reload_system_files()
    if units := [unit for unit in ENABLED_UNITS if unit in came]:
        service.enable(units)
        for unit in (each for each in units if each.endswith(".timer")):
            try_run("systemctl", "start", "--no-block", unit)


def missing_packages(release: Path = HERE) -> list[str]:
    """The required packages of this release that are not installed."""
    wanted = packages.read_packages(release / "provisioning/boards", board.find_board().name)
    return [each.name for each in packages.missing(wanted) if each.needed]
