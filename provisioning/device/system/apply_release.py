"""What a release does to the system around it, by its own code, when it is switched to.

The files of another release that this one has not are removed, so the way back leads to the same system.
"""

from __future__ import annotations

from pathlib import Path

from device.install.source import HERE
from device.install.undo_record import UndoRecord
from device.layout import ENABLED_UNITS, Layout
from device.system import accounts, board, packages, release_files, service
from device.system.shell import try_run


def apply_release(layout: Layout) -> None:
    """Have the files, users, folders, device rules and units of the current release; nothing without one.

    A unit that starts with the system is enabled when it comes; one that the owner has disabled stays so.
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
    """The packages without which nothing of this release works, and that are not installed."""
    wanted = packages.read_packages(release / "provisioning/boards", board.find_board().name)
    return [each.name for each in packages.missing(wanted) if each.needed]
