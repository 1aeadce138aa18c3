"""A card that the Imager wrote and `provisioning/card` completed installs itself, with a real cloud-init.

Each of the Imager's files is booted once. Its commands and ours must run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.device.booted import Booted, wait_for
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(900)

SUITE = "trixie"
UNIT = "interview-grader.service"
LOG = "/var/log/cloud-init-output.log"
HEAD = """\
#cloud-config
manage_resolv_conf: false

hostname: "{name}"
manage_etc_hosts: true
user:
  name: "anna"
  shell: /bin/bash
  lock_passwd: true
  sudo: null
"""

CONNECT = (
    HEAD.format(name="room1")
    + """\
ssh_pwauth: false
timezone: "Europe/Berlin"

runcmd:
  - [ systemctl, enable, --now, ssh ]
  - [ sh, -c, "install -o 'anna' -m 700 -d '/home/anna/.config/com.raspberrypi.connect'" ]
  - [ sh, -c, "printf '%s\\n' 'a: [token] # 1' > '/home/anna/.config/com.raspberrypi.connect/auth.key'" ]
  - [ sleep, "1" ]
  - [ sh, -c, "systemctl --quiet --user --machine='anna@.host' start rpi-connect.service || true" ]
"""
)
COUNTRY = (
    HEAD.format(name="raspberrypi")
    + """\

runcmd:
  - [ rfkill, unblock, wifi ]
  - [ sh, -c, "for f in /var/lib/systemd/rfkill/*:wlan; do echo 0 > \\"$f\\"; done" ]
"""
)
PLAIN = (
    "#cloud-config\nhostname: room2\nmanage_etc_hosts: true\nusers:\n- name: anna\n  groups: users,adm,sudo\n"
)
WISH = '[camera]\nbackend = "demo"\n[web]\nport = 8443\n'
MISTAKE = "[web]\nprot = 8443\n"


def written(folder: Path, shared: Path, user_data: str, config: str | None = None) -> Path:
    """The files of a card that the Imager wrote and `provisioning/card` completed on a laptop."""
    boot, seed = folder / "boot/firmware", folder / "var/lib/cloud/seed/nocloud"
    for each in (boot, seed, folder / "var/lib/systemd/rfkill", folder / "usr/local/sbin"):
        each.mkdir(parents=True)
    (boot / "user-data").write_text(user_data)
    (boot / "meta-data").write_text("instance-id: a-card\n")
    for name in ("user-data", "meta-data"):
        (seed / name).symlink_to(f"/boot/firmware/{name}")
    (folder / "var/lib/systemd/rfkill/platform-x:wlan").write_text("1\n")
    (folder / "usr/local/sbin/rfkill").write_text('#!/bin/sh\necho "$@" > /root/rfkill\n')
    (folder / "usr/local/sbin/rfkill").chmod(0o755)
    words = [boot, shared / "bundle", shared / "signers"]
    if config is not None:
        (folder / "mine.toml").write_text(config)
        words.append(folder / "mine.toml")
    settings = (ROOT / "provisioning/image/comitup.conf").read_text()
    (boot / "interview-grader").mkdir()
    (boot / "interview-grader/comitup.conf").write_text(
        settings.replace("change-me-before-use", "our own one")
    )
    command = [sys.executable, "-I", "-S", ROOT / "provisioning/card", *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def boot(
    share: Callable[[str], Path], system: Callable[..., list[Path]], tmp_path: Path
) -> Callable[..., Booted]:
    def first_boot(user_data: str, config: str | None = None) -> Booted:
        shared = share(SUITE)
        card = written(tmp_path / "card", shared, user_data, config)
        return Booted([*system(SUITE, "cloud-init"), card], shared, boot_s=400)

    return first_boot


def log(device: Booted) -> str:
    return device.says("cat", LOG)


def wait_until_installed(device: Booted) -> None:
    wait_for(lambda: device.says("systemctl", "is-active", UNIT) == "active", 400, lambda: log(device))
    assert device.says("cloud-init", "status", "--wait").endswith("status: done"), log(device)


def test_with_connect_both_run_and_the_settings_are_in_force(boot: Callable[..., Booted]) -> None:
    with boot(CONNECT, WISH) as device:
        wait_until_installed(device)
        token = device.path("/home/anna/.config/com.raspberrypi.connect/auth.key")
        assert token.read_text() == "a: [token] # 1\n"
        assert device.says("systemctl", "is-enabled", "ssh") == "enabled"
        assert "https://room1.local:8443/" in log(device) and "first code" in log(device)
        assert device.path("/etc/interview-grader/config.toml").read_text() == WISH
        assert device.says("hostname") == "room1", "its owner chose it"
        assert "renamed" not in log(device)

        device.reboot()
        wait_for(lambda: device.says("systemctl", "is-active", UNIT) == "active", 60, lambda: log(device))
        assert log(device).count("first code") == 1


def test_with_a_country_both_run_and_a_mistake_is_reported(boot: Callable[..., Booted]) -> None:
    with boot(COUNTRY, MISTAKE) as device:
        wait_until_installed(device)
        assert device.path("/root/rfkill").read_text() == "unblock wifi\n"
        assert device.path("/var/lib/systemd/rfkill/platform-x:wlan").read_text() == "0\n"
        said = log(device)
        assert "first code" in said and "https://interview-grader.local/" in said
        assert "the device is renamed" not in said, "user-data has the name already"
        [line] = [each for each in said.splitlines() if each.startswith("  settings ")]
        assert "unknown key; did you mean 'port'?" in line and "setup.sh install --config" in line
        told = device.path("/boot/firmware/interview-grader/config.toml.rejected").read_text()
        assert "unknown key; did you mean 'port'?" in told and told.count("\n") == 1
        assert not device.path("/etc/interview-grader/config.toml").exists()

        device.reboot()  # cloud-init writes /etc/hosts again
        assert device.says("hostname") == "interview-grader"
        assert "127.0.1.1" in device.says("getent", "ahosts", "interview-grader")


@pytest.mark.parametrize(
    ("user_data", "name"),
    [(PLAIN, "room2"), ((ROOT / "provisioning/image/user-data").read_text(), "interview-grader")],
    ids=["the Imager's", "ours"],
)
def test_a_file_without_other_commands(boot: Callable[..., Booted], user_data: str, name: str) -> None:
    with boot(user_data) as device:
        wait_until_installed(device)
        assert f"https://{name}.local/" in log(device)
        assert device.says("hostname") == name
        assert "comitup is not installed, so there is no hotspot" in log(device)
        assert device.path("/etc/comitup.conf").stat().st_mode & 0o777 == 0o600, "it has a password"
        assert not device.path("/boot/firmware/interview-grader/config.toml.rejected").exists()
