"""`install --config FILE`: the owner's initial settings. A mistake in them does not stop the installation."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from device.errors import UserError
from device.layout import Layout
from device.system.files import replacing

NAME = "config.toml"


class InitialSettings:
    """Copied unchanged, or not at all. `check` returns the fault in a settings file, "" without one."""

    def __init__(self, given: Path, layout: Layout, check: Callable[[Path], str]) -> None:
        if not given.is_file():
            raise UserError(f"--config {given}: no such file; give a file with settings, or omit --config")
        self._given, self._own, self._check = given, layout.config / NAME, check
        self._again = f"sudo {layout.current}/setup.sh install --config {given}"
        self.fault = ""
        self.is_applied = False

    def plan(self) -> str:
        """What would change. Settings that the device already has stay."""
        return "" if self._own.exists() else f"the settings of {self._given}"

    def conflict(self) -> str:
        """A message if the device already has other settings, else ""."""
        if self._own.exists() and self._own.read_bytes() != self._given.read_bytes():
            return f"{self._given} is not used, since {self._own} exists: change that file"
        return ""

    def apply(self) -> None:
        """Use them from the next start on, unless `check` finds a mistake."""
        new = self._own.with_name(f"{NAME}.new")  # next to config.d, which belongs to it
        try:
            shutil.copyfile(self._given, new)
            new.chmod(0o644)
            if fault := self._check(new):
                self._refuse(fault.replace(str(new), str(self._given)))
                return
            new.replace(self._own)
        finally:
            new.unlink(missing_ok=True)
        self.is_applied = True
        with contextlib.suppress(OSError):
            self._rejected_file().unlink(missing_ok=True)

    def revert(self, fault: str) -> None:
        """Remove them again, since the service does not start with them."""
        self._own.unlink()
        self.is_applied = False
        self._refuse(fault)

    def _refuse(self, fault: str) -> None:
        """Also write the fault next to the file, for an owner who reads the card on another computer."""
        self.fault = f"{self._given} is not used: {fault}; correct it, then run: {self._again}"
        # On a read-only card only the installer reports it.
        with contextlib.suppress(OSError), replacing(self._rejected_file()) as new:
            new.write_text(f"{self.fault}\n", encoding="utf-8")

    def _rejected_file(self) -> Path:
        return self._given.with_name(f"{self._given.name}.rejected")
