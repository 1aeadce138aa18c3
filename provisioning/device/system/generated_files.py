"""Small system files that the installer generates: for avahi, and for the owner's options."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.errors import UserError
from device.layout import Layout
from device.system.files import replacing
from device.system.shell import try_run

AVAHI_SERVICE = """<?xml version="1.0" standalone="no"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<!-- Written by the installer of Interview Grader. -->
<service-group>
  <name replace-wildcards="yes">Interview Grader on %h</name>
  <service>
    <type>_https._tcp</type>
    <port>443</port>
  </service>
</service-group>
"""

ALLOWED_NETWORKS = """\
# Written by setup.sh install --allow: networks, besides the private ones, that the device may talk to. To
# remove one, delete its line, then: sudo systemctl daemon-reload; sudo systemctl restart interview-grader
[Service]
"""

KEPT_LOG = """\
# Written by setup.sh install --keep-log: the system's log is on the disk and survives a restart.
# To undo it, remove this file, then: sudo systemctl restart systemd-journald
[Journal]
Storage=persistent
SystemMaxUse=64M
SyncIntervalSec=30s
"""

VOLATILE_LOG = """\
# Written by setup.sh install --volatile-log: the system's log is in memory and lost at a restart.
[Journal]
Storage=volatile
RuntimeMaxUse=32M
"""


@dataclass(frozen=True)
class GeneratedFile:
    """A file with exactly this text."""

    path: Path
    text: str

    def is_current(self) -> bool:
        """Whether it exists with this text."""
        try:
            return self.path.read_text(encoding="utf-8") == self.text
        except OSError:
            return False

    def write(self) -> None:
        """Write it atomically."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.write_text(self.text, encoding="utf-8")


def avahi_service(layout: Layout) -> GeneratedFile:
    """The service that avahi announces on the network."""
    return GeneratedFile(layout.root / "etc/avahi/services/interview-grader.service", AVAHI_SERVICE)


def allowed_networks(layout: Layout, allowed: Sequence[str]) -> GeneratedFile:
    """The drop-in that allows further networks, including those allowed before; raises `UserError`."""
    path = layout.drop_ins / "networks.conf"
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in known if line.startswith("IPAddressAllow=")]
    for text in allowed:
        try:
            line = f"IPAddressAllow={ipaddress.ip_network(text)}"
        except ValueError as error:
            raise UserError(f"--allow {text}: {error}; expected a network such as 203.0.113.0/24") from error
        lines += [line] if line not in lines else []
    return GeneratedFile(path, ALLOWED_NETWORKS + "".join(f"{line}\n" for line in lines))


def journald_config(layout: Layout, text: str = KEPT_LOG) -> GeneratedFile:
    """Where journald keeps the log. Its name overrides 40-rpi-volatile-storage.conf of Raspberry Pi OS."""
    return GeneratedFile(layout.root / "etc/systemd/journald.conf.d/interview-grader.conf", text)


def apply_journald_config(file: GeneratedFile) -> None:
    """Write it, and have journald use it at once, including for the log in memory."""
    file.write()
    try_run("systemctl", "restart", "systemd-journald")
    try_run("journalctl", "--flush")


def remove_all(layout: Layout) -> None:
    """Remove all of them, and folders that become empty."""
    had_log = journald_config(layout).path.exists()
    for file in (avahi_service(layout), allowed_networks(layout, []), journald_config(layout)):
        file.path.unlink(missing_ok=True)
    if had_log:
        try_run("systemctl", "restart", "systemd-journald")
    for folder in (layout.drop_ins, layout.root / "etc/systemd/journald.conf.d"):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
