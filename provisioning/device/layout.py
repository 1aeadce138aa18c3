"""Where everything of the device lies. `root` is another folder only in tests."""

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
"""What starts with the system; the timer that looks for updates is the owner's to enable."""


@dataclass(frozen=True)
class Layout:
    """The paths of an installed device."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        """The releases, and which one is current."""
        return self.root / "opt/interview-grader"

    @property
    def current(self) -> Path:
        """The release in use: a link."""
        return self.opt / "current"

    @property
    def unpacking(self) -> Path:
        """Where the installer unpacks a bundle; what a cut left there goes with the next installation."""
        return self.opt.with_name("interview-grader.unpacking")

    @property
    def signers(self) -> Path:
        """Whose releases the device takes."""
        return self.config / "release_signers"

    @property
    def record(self) -> Path:
        """What the installer changed that is not its own, to be put back by --uninstall."""
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
        """What the service that looks for releases has seen."""
        return self.root / "var/lib/interview-grader-look"

    @property
    def drop_ins(self) -> Path:
        """What this device adds to the unit."""
        return self.root / "etc/systemd/system/interview-grader.service.d"
