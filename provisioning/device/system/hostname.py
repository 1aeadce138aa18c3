"""The device's name on the network: NAME.local, announced by avahi."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from device.errors import UserError
from device.install.undo_record import UndoRecord
from device.system.files import replacing
from device.system.shell import run, try_run

NAME = "interview-grader"
FACTORY = {
    "raspberrypi": "Raspberry Pi OS",
    "ubuntu": "Ubuntu's images for boards",
    "tegra-ubuntu": "Jetson Linux without its first setup",
    "nvidia-desktop": "proposed by the first setup of a Jetson for a user nvidia",
    "jetson-desktop": "the same for a user jetson",
    "jetson": "cards prepared for a Jetson",
    "debian": "proposed by Debian's installer",
    "localhost": "a system without a name",
}
"""Factory names and where they come from. Any other name stays."""


def desired_name(asked: str | None) -> str:
    """The name that the device should have; raises `UserError` for an invalid one."""
    if asked and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", asked):
        raise UserError(f"--name {asked}: expected up to 63 characters of a-z, 0-9 and -, such as {NAME}")
    now = current_name()
    return asked or (NAME if now in FACTORY else now)


def rename_notice(name: str, asked: str | None) -> str:
    """Announce the new name, "" if the device has it already."""
    now = current_name()
    if now == name:
        return ""
    if asked:
        return f"the device is renamed to {name}, as asked; it was {now}"
    return f"the device is renamed to {name}: {now} is a factory name; to keep it, stop and add --name {now}"


def current_name() -> str:
    """The current name of the device, without a domain."""
    return socket.gethostname().partition(".")[0].lower()


def rename(name: str, record: UndoRecord, hosts: Path = Path("/etc/hosts")) -> None:
    """Rename the device, and record the old name."""
    before = current_name()
    record.set_default("name", before)
    record.set("given name", name)
    run("hostnamectl", "set-hostname", name)
    try_run("systemctl", "try-restart", "avahi-daemon.service")
    lines = hosts.read_text(encoding="utf-8").splitlines() if hosts.exists() else []
    text = "\n".join(re.sub(rf"(?<=\s){re.escape(before)}(?=\s|$)", name, line) for line in lines)
    if hosts.exists() and text != "\n".join(lines):
        with replacing(hosts) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
            partial.chmod(0o644)


def restore(record: UndoRecord) -> None:
    """Restore the recorded name, unless the owner has changed the name since."""
    before = record.get("name")
    if before and current_name() == record.get("given name"):
        rename(before, record)
