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
    """Describe the users, groups and memberships of these files that do not exist yet."""
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
    """Create what is missing, and record the new groups."""
    made = [name for kind, name, _ in _lines(sysusers) if kind == "g" and _members(name) is None]
    record.set("groups", " ".join([*record.get("groups").split(), *made]))
    run("systemd-sysusers", *map(str, sysusers))


def remove(user: str, record: UndoRecord) -> None:
    """Remove the user, its group, and the groups created for it that have no other members."""
    if _is_user(user):
        try_run("pkill", "-KILL", "-u", user)  # a command that still runs as the service's user
        run("userdel", user)
    for group in (user, *record.get("groups").split()):
        if _members(group) == []:
            try_run("groupdel", group)


def owns(user: str, folder: Path) -> bool:
    """Whether a folder exists, belongs to this user and gives it all rights."""
    if not (_is_user(user) and folder.is_dir()):
        return False
    status = folder.stat()
    return status.st_uid == pwd.getpwnam(user).pw_uid and status.st_mode & 0o700 == 0o700


def change_owner(folder: Path, uid: int, gid: int) -> None:
    """Change the owner of a folder and everything in it, the folder last.

    So if the folder has the new owner, everything in it has too. Links are not followed: they may lead to
    files of other users.
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
