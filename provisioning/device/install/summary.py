"""What the installer says to its user."""

from __future__ import annotations

import re

from device.layout import SERVICE, Places
from device.system import hostname, service
from device.system.sandbox import Confined
from device.system.shell import attempt
from device.text import printable

LAMPS = """lamps        running: it works. camera: the camera is open. fault: something is wrong; what its
             blinking means stands in docs/lamps.md"""


def say(words: str) -> None:
    """One line of progress."""
    print(f"install: {printable(words)}", flush=True)


def tell_ready(places: Places, health: str, settings_fault: str = "") -> None:
    """The address, the first code, the lamps' meaning; `settings_fault`: why given settings are not used."""
    access = _ask(places, "access", "list")
    lines = [f"address      https://{hostname.present_name()}.local{_port()}/"]
    if "no password yet" in access and (code := _first_code()):
        lines.append(f"first code   {code}   type it there and set the operator's password")
    if found := re.search(r"SHA-256: (\S+)", access):
        lines.append(f"certificate  SHA-256 {found.group(1)}")
    lines.append(f"health       {health}")
    lines.append(LAMPS if _has_lamps(places) else "lamps        none on this board")
    if not places.signers.exists():
        lines.append("updates      none are taken: no key is known yet; setup.sh install --signers FILE")
    if settings_fault:
        lines.append(f"settings     {settings_fault}")
    lines.append("remove       sudo interview-grader-update uninstall   your records and settings stay")
    print("\n" + "\n".join(f"  {printable(line)}" for line in lines) + "\n", flush=True)


def _port() -> str:
    port = service.port()
    return "" if port in (0, 443) else f":{port}"


def _first_code() -> str:
    since = f"_SYSTEMD_INVOCATION_ID={service.show('InvocationID')}"
    said = attempt("journalctl", "-u", SERVICE, "-o", "cat", "--no-pager", since).stdout
    codes = re.findall(r"FIRST CODE ([A-Z0-9-]+):", said)
    return codes[-1] if codes else ""


def _has_lamps(places: Places) -> bool:
    return not re.search(r'^\[lamps\]\nbackend = "none"', _ask(places, "config"), re.MULTILINE)


def _ask(places: Places, *arguments: str) -> str:
    """What the release in use answers, run as the service is."""
    confined = Confined(places.current, places.state, root=places.root)
    return confined.ask(str(places.current / "venv/bin/interview-grader"), *arguments).stdout
