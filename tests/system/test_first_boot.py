"""A card that was written with our `user-data` installs itself: a real cloud-init, at a real first boot."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.machine import ROOT
from tests.system.booted import Booted, base_system, wait_for

pytestmark = pytest.mark.timeout(600)

SUITE = "trixie"
UNIT = "interview-grader.service"


def test_a_flashed_card_installs_itself_by_cloud_init(share: Callable[[str], Path], tmp_path: Path) -> None:
    shared, card = share(SUITE), tmp_path / "card"
    boot, seed = card / "boot/firmware/interview-grader", card / "var/lib/cloud/seed/nocloud"
    for folder in (boot, seed):
        folder.mkdir(parents=True)
    shutil.copy2(shared / "bundle", boot / "interview-grader.bundle")
    shutil.copy2(shared / "signers", boot / "release_signers")
    shutil.copy2(ROOT / "provisioning/image/first-boot", boot)
    settings = (ROOT / "provisioning/image/comitup.conf").read_text()
    (boot / "comitup.conf").write_text(settings.replace("change-me-before-use", "of the owner's own"))
    shutil.copy2(ROOT / "provisioning/image/user-data", seed)
    (seed / "meta-data").write_text("instance-id: a-card\n")

    def is_active() -> bool:
        return device.says("systemctl", "is-active", UNIT) == "active"

    def log() -> str:
        return device.says("cat", "/var/log/cloud-init-output.log")

    with Booted([base_system(SUITE, "cloud-init"), card], shared) as device:
        wait_for(is_active, 300, log)
        assert device.says("cloud-init", "status", "--wait").endswith("status: done")
        assert "https://interview-grader.local/" in log() and "first code" in log(), log()
        assert device.says("hostname") == "interview-grader"
        assert "comitup is not installed, so there is no hotspot" in log()
        assert device.path("/etc/comitup.conf").stat().st_mode & 0o777 == 0o600, "it has a password"

        device.reboot()
        wait_for(is_active, 60, lambda: device.journal("-u", UNIT))
        assert log().count("first code") == 1
