"""The service as systemd manages it: enable, start, stop, and its last log line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from device.errors import DeviceError
from device.layout import CHECK_TIMER, ENABLED_UNITS, FAILURE_BLINKER, RECOVER, RETENTION, SERVICE, TIMER
from device.system.shell import run, succeeds, try_run

RECOVERY = "interview-grader-take-back"


def unit_property(key: str, unit: str = SERVICE) -> str:
    """A property of a unit, as `systemctl show` prints it."""
    return try_run("systemctl", "show", "--value", "-p", key, unit).stdout.strip()


def is_enabled() -> bool:
    """Whether service, timer and recovery start with the system."""
    return all(succeeds("systemctl", "--quiet", "is-enabled", unit) for unit in ENABLED_UNITS)


def is_running() -> bool:
    """Whether the service runs and is ready."""
    return succeeds("systemctl", "--quiet", "is-active", SERVICE)


def all_running() -> bool:
    """Whether service and timer run."""
    return all(succeeds("systemctl", "--quiet", "is-active", unit) for unit in (SERVICE, TIMER))


def enable(units: Sequence[str] = ENABLED_UNITS) -> None:
    """Have units start with the system."""
    run("systemctl", "--quiet", "enable", *units)


def disable() -> None:
    """Stop all units, and disable them."""
    try_run("systemctl", "--quiet", "disable", "--now", TIMER, CHECK_TIMER, SERVICE, RECOVER)
    others = (FAILURE_BLINKER, RETENTION, f"{RECOVERY}.service")
    try_run("systemctl", "stop", *others)
    for unit in (SERVICE, *others):
        try_run("systemctl", "reset-failed", unit)


def reload_system_files() -> None:
    """Have systemd, tmpfiles and udev read their changed files."""
    run("systemctl", "daemon-reload")
    run("systemd-tmpfiles", "--create", "interview-grader.conf")
    if succeeds("udevadm", "control", "--reload"):  # in a container there is no udev
        try_run("udevadm", "trigger", "--subsystem-match=video4linux", "--subsystem-match=gpio")
        try_run("udevadm", "trigger", "--subsystem-match=usb", "--subsystem-match=apex")


def restart() -> None:
    """Restart the service and wait until it is ready; raises `DeviceError` with its last log line."""
    try_run("systemctl", "reset-failed", SERVICE)
    run("systemctl", "start", TIMER)
    if try_run("systemctl", "restart", SERVICE).returncode:
        raise DeviceError(f"the service does not start: {last_log_line()}")


def stop() -> None:
    """Stop the service, and the job that opens the records while it is stopped; raises `DeviceError`."""
    try_run("systemctl", "stop", RETENTION)
    run("systemctl", "stop", SERVICE)


def schedule_recovery(release: Path) -> None:
    """Have systemd roll the change back, by the code of `release`, if the updater is killed."""
    program = (str(release / "venv/bin/python"), "-I", str(release / "provisioning/update"))
    # A job that still waits for an earlier change is enough for this one too.
    try_run("systemd-run", "--quiet", "--collect", f"--unit={RECOVERY}", *program, "recover", "--wait")


def cancel_recovery() -> None:
    """The change is complete: no recovery is needed."""
    try_run("systemctl", "stop", f"{RECOVERY}.service")


def start() -> None:
    """Start the service and wait until it is ready; raises `DeviceError` with its last log line."""
    try_run("systemctl", "reset-failed", SERVICE)
    if try_run("systemctl", "start", SERVICE).returncode:
        raise DeviceError(f"the service does not start: {last_log_line()}")


def last_log_line() -> str:
    """The last line that the service wrote to the journal, for a person to read."""
    line = try_run(
        "journalctl", "-u", SERVICE, "-t", "interview-grader", "-n", "1", "-o", "cat", "--no-pager"
    )
    return line.stdout.strip() or f"see journalctl -u {SERVICE}"
