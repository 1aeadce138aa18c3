"""Paths, users and units of an installed device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

USER = "interview-grader"
CHECK_USER = "interview-grader-look"
SERVICE = "interview-grader.service"
RETENTION = "interview-grader-retention.service"
TIMER = "interview-grader-retention.timer"
CHECK_TIMER = "interview-grader-look.timer"
RECOVER = "interview-grader-recover.service"
FAILURE_BLINKER = "interview-grader-gave-up.service"
ENABLED_UNITS = (SERVICE, TIMER, RECOVER)
"""Units that start with the system. The owner enables the timer that checks for releases."""


@dataclass(frozen=True)
class Layout:
    """The paths of an installed device. `root` differs from `/` only in tests."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        """The releases, and the link to the current one."""
        return self.root / "opt/interview-grader"

    @property
    def current(self) -> Path:
        """The link to the release in use."""
        return self.opt / "current"

    @property
    def unpacking(self) -> Path:
        """Where the installer unpacks a bundle. The next installation removes what a power cut left there."""
        return self.opt.with_name("interview-grader.unpacking")

    @property
    def signers(self) -> Path:
        """Public keys of the signers that the device trusts."""
        return self.config / "release_signers"

    @property
    def record(self) -> Path:
        """Record of system settings that the installer changed; --uninstall restores them."""
        return self.opt / "installed.json"

    @property
    def config(self) -> Path:
        """The owner's settings."""
        return self.root / "etc/interview-grader"

    @property
    def state(self) -> Path:
        """The owner's records, accounts and keys."""
        return self.root / "var/lib/interview-grader"

    @property
    def check_state(self) -> Path:
        """State of the service that checks for releases."""
        return self.root / "var/lib/interview-grader-look"

    @property
    def drop_ins(self) -> Path:
        """Settings that this device adds to the unit."""
        return self.root / "etc/systemd/system/interview-grader.service.d"
