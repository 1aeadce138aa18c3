"""The user of the service and the groups whose devices it uses, from systemd/interview-grader.sysusers."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from device.install.undo_record import UndoRecord
from device.system.shell import run, try_run


def missing(sysusers: Sequence[Path]) -> list[str]:
    """Which users, groups and memberships of these files are not there, in words."""
    found = []
    for kind, name, group in _lines(sysusers):
        if kind == "g" and _members(name) is None:
            found.append(f"group {name}")
        elif kind == "u" and not _is_user(name):
            found.append(f"user {name}")
        elif kind == "m" and name not in (_members(group) or []):
            found.append(f"{name} in group {group}")
    return found


def create(sysusers: Sequence[Path], record: UndoRecord) -> None:
    """Make what is lacking, and keep which groups were."""
    made = [name for kind, name, _ in _lines(sysusers) if kind == "g" and _members(name) is None]
    record.set("groups", " ".join([*record.get("groups").split(), *made]))
    run("systemd-sysusers", *map(str, sysusers))


def remove(user: str, record: UndoRecord) -> None:
    """Remove the user, its group, and the groups that were made for it and have no other members."""
    if _is_user(user):
        try_run("pkill", "-KILL", "-u", user)  # a command that somebody still has open as the service's user
        run("userdel", user)
    for group in (user, *record.get("groups").split()):
        if _members(group) == []:
            try_run("groupdel", group)


def owns(user: str, folder: Path) -> bool:
    """Whether a folder is there and belongs to a user, as `change_owner` makes it, who may do all in it."""
    if not (_is_user(user) and folder.is_dir()):
        return False
    status = folder.stat()
    return status.st_uid == pwd.getpwnam(user).pw_uid and status.st_mode & 0o700 == 0o700


def change_owner(folder: Path, uid: int, gid: int) -> None:
    """Make a folder with all that is in it somebody's own: the service's, or after it root's.

    The folder itself comes last, so that whoever finds it done finds all of it done. No link is followed: who
    wrote one there may have meant another file than his own.
    """
    for top, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            os.lchown(os.path.join(top, name), uid, gid)
    os.lchown(folder, uid, gid)


def _lines(sysusers: Sequence[Path]) -> list[tuple[str, str, str]]:
    texts = [path.read_text(encoding="utf-8") for path in sysusers]
    words = [line.split() for text in texts for line in text.splitlines()]
    return [(line[0], line[1], line[2]) for line in words if line and not line[0].startswith("#")]


def _members(group: str) -> list[str] | None:
    try:
        return grp.getgrnam(group).gr_mem
    except KeyError:
        return None


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
