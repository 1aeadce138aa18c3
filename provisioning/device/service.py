"""The service as systemd and the network see it: enabled, started, ready, and what it says."""

from __future__ import annotations

import json
import re
import ssl
import time
import urllib.error
import urllib.request

from device import placed
from device.faults import DeviceError, Refused
from device.places import SERVICE, TIMER, Places
from device.shell import attempt, run, succeeds

READY_S = 60.0


def show(key: str, unit: str = SERVICE) -> str:
    """A property of the unit as `systemctl show` gives it."""
    return attempt("systemctl", "show", "--value", "-p", key, unit).stdout.strip()


def is_enabled() -> bool:
    """Whether service and timer start with the system."""
    return all(succeeds("systemctl", "--quiet", "is-enabled", unit) for unit in (SERVICE, TIMER))


def is_active() -> bool:
    """Whether service and timer run."""
    return all(succeeds("systemctl", "--quiet", "is-active", unit) for unit in (SERVICE, TIMER))


def enable() -> None:
    """Start both with the system."""
    run("systemctl", "--quiet", "enable", SERVICE, TIMER)


def disable() -> None:
    """Stop both now, and do not start them with the system."""
    attempt("systemctl", "--quiet", "disable", "--now", TIMER, SERVICE)
    attempt("systemctl", "reset-failed", SERVICE)


def reload() -> None:
    """Units, users, folders and device rules as the current release has them, also after it was changed."""
    placed.place_all(Places())
    run("systemctl", "daemon-reload")
    run("systemd-tmpfiles", "--create", "interview-grader.conf")
    if succeeds("udevadm", "control", "--reload"):  # in a container there is no udev
        attempt("udevadm", "trigger", "--subsystem-match=video4linux", "--subsystem-match=gpio")
        attempt("udevadm", "trigger", "--subsystem-match=usb")


def restart() -> None:
    """Start it anew and wait until it says that it is ready; raises `DeviceError` with what it said."""
    attempt("systemctl", "reset-failed", SERVICE)
    run("systemctl", "start", TIMER)
    if attempt("systemctl", "restart", SERVICE).returncode:
        raise DeviceError(f"the service does not start: {last_words()}")


def last_words() -> str:
    """The last line that the service itself wrote to the journal."""
    said = attempt(
        "journalctl", "-u", SERVICE, "-t", "interview-grader", "-n", "1", "-o", "cat", "--no-pager"
    )
    return said.stdout.strip() or f"see journalctl -u {SERVICE}"


def port() -> int:
    """The port it serves, as its status line says; 0 while it is not ready."""
    found = re.search(r"https?://[^/ ]+:(\d+)", show("StatusText"))
    return int(found.group(1)) if found else 0


def wait_healthy() -> str:
    """What /healthz says: "ok", or why there is no picture yet; raises `DeviceError` when nobody answers."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            answer = ask("/healthz")
            return "ok" if answer.get("status") == "ok" else str(answer.get("reason"))
        except DeviceError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.5)


def refuse_while_live() -> None:
    """Raises `Refused` while somebody is being read: a restart would end that."""
    if not port():
        return
    answer = ask("/api/state")
    camera = answer.get("camera")
    backend = camera.get("backend") if isinstance(camera, dict) else ""
    if answer.get("state") in ("live", "recording") and backend not in ("demo", "replay"):
        raise Refused(f"a session is {answer['state']}; press Stop on the page and try again, or add --now")


def ask(path: str) -> dict[str, object]:
    """What the service answers on this device itself, whatever its status; raises `DeviceError`."""
    number = port()
    if not number:
        raise DeviceError(f"the service is not ready: {last_words()}")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is this device: nobody in between
    try:
        with urllib.request.urlopen(f"https://127.0.0.1:{number}{path}", timeout=5, context=context) as got:
            return dict(json.load(got))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))
    except (OSError, ValueError) as error:
        raise DeviceError(f"https://127.0.0.1:{number}{path} does not answer: {error}") from error
