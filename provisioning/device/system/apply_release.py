"""What a release does to the system around it, by its own code, when it is switched to.

The files of another release that this one has not are removed, so the way back leads to the same system.
"""

from __future__ import annotations

from pathlib import Path

from device.install.source import HERE
from device.install.undo_record import Record
from device.layout import STARTED, Places
from device.system import accounts, board, packages, release_files, service
from device.system.shell import attempt


def place(places: Places) -> None:
    """Have the files, users, folders, device rules and units of the current release; nothing without one.

    A unit that starts with the system is enabled when it comes; one that the owner has disabled stays so.
    """
    if not places.current.exists():
        return
    kind = board.find_board().name
    files = release_files.all_files(places, kind, places.current)
    accounts.make(release_files.sysusers(places.current, kind), Record(places.record))
    for path in release_files.stale(places, files):
        if path.parent == places.root / release_files.UNITS:
            attempt("systemctl", "--quiet", "disable", "--now", path.name)
    came = {path.name for path in release_files.place(places, files)}
    service.reload()
    if units := [unit for unit in STARTED if unit in came]:
        service.enable(units)
        for unit in (each for each in units if each.endswith(".timer")):
            attempt("systemctl", "start", "--no-block", unit)


def lacking(release: Path = HERE) -> list[str]:
    """The packages without which nothing of this release works, and that are not installed."""
    wanted = packages.read_packages(release / "provisioning/boards", board.find_board().name)
    return [each.name for each in packages.missing(wanted) if each.needed]
