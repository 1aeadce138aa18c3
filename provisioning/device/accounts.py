"""The user of the service and the groups whose devices it uses, from systemd/interview-grader.sysusers."""

from __future__ import annotations

import grp
import pwd
import shutil
from pathlib import Path

from device.record import Record
from device.shell import attempt, run


def lacking(sysusers: Path) -> list[str]:
    """Which users, groups and memberships of the file are not there, in words."""
    found = []
    for kind, name, group in _lines(sysusers):
        if kind == "g" and _members(name) is None:
            found.append(f"group {name}")
        elif kind == "u" and not _is_user(name):
            found.append(f"user {name}")
        elif kind == "m" and name not in (_members(group) or []):
            found.append(f"{name} in group {group}")
    return found


def make(sysusers: Path, record: Record) -> None:
    """Make what is lacking, and keep which groups were."""
    made = [name for kind, name, _ in _lines(sysusers) if kind == "g" and _members(name) is None]
    record.put("groups", " ".join([*record.get("groups").split(), *made]))
    run("systemd-sysusers", str(sysusers))


def remove(user: str, record: Record) -> None:
    """Remove the user, its group, and the groups that were made for it and have no other members."""
    if _is_user(user):
        run("userdel", user)
    for group in (user, *record.get("groups").split()):
        if _members(group) == []:
            attempt("groupdel", group)


def give(folder: Path, user: str) -> None:
    """Make everything in a folder a user's own. What an uninstall left belongs to root."""
    if folder.is_dir() and folder.owner() != user:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, user, user)


def _lines(sysusers: Path) -> list[tuple[str, str, str]]:
    words = [line.split() for line in sysusers.read_text(encoding="utf-8").splitlines()]
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
