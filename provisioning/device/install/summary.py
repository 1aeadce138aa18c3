"""Messages of the installer."""

from __future__ import annotations

from device.layout import Layout
from device.system import hostname
from device.system.status import Status
from device.text import printable

LAMPS = """lamps        running: it works. camera: the camera is open. fault: something is wrong;
             docs/lamps.md explains its blinking"""


def say(words: str) -> None:
    """One line of progress."""
    print(f"install: {printable(words)}", flush=True)


def print_ready(layout: Layout, status: Status, settings_fault: str = "") -> None:
    """Print address, first code and the meaning of the lamps.

    `settings_fault`: why the given settings are not used.
    """
    lines = [f"address      {status.address or f'https://{hostname.current_name()}.local/'}"]
    if status.first_code:
        lines.append(f"first code   {status.first_code}   type it there and set the operator's password")
    if status.certificate_sha256:
        lines.append(f"certificate  SHA-256 {status.certificate_sha256}")
    lines.append(f"health       {status.words}")
    lines.append(LAMPS if status.lamps else "lamps        none on this board")
    if not layout.signers.exists():
        lines.append("updates      refused, since no signer is trusted yet; setup.sh install --signers FILE")
    if settings_fault:
        lines.append(f"settings     {settings_fault}")
    lines.append("remove       sudo interview-grader-update uninstall   your records and settings stay")
    print("\n" + "\n".join(f"  {printable(line)}" for line in lines) + "\n", flush=True)
