"""What an owner does with a device over the years, on a booted one, from top to bottom.

Its system keeps the journal in memory, as Raspberry Pi OS does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.device.booted import NAME, Booted, wait_for

pytestmark = pytest.mark.timeout(600)

SUITE = "trixie"
SETUP = "/opt/interview-grader/current/setup.sh"
INSTALL = ("/share/checkout/setup.sh", "install", "--offline", "/share/bundle", "--signers", "/share/signers")
UNIT = "interview-grader.service"
OWNERS, STATE = "/etc/interview-grader", "/var/lib/interview-grader"
VOLATILE = "/usr/lib/systemd/journald.conf.d/40-rpi-volatile-storage.conf"


@pytest.fixture(scope="module")
def device(
    share: Callable[[str], Path],
    system: Callable[..., list[Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Booted]:
    layer = tmp_path_factory.mktemp("layer")
    drop_in = layer / VOLATILE.lstrip("/")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text("[Journal]\nStorage=volatile\n")
    wish = layer / OWNERS.lstrip("/") / "config.d/test.toml"
    wish.parent.mkdir(parents=True)
    wish.write_text('[camera]\nbackend = "demo"\nneeds_agreement = true\n')
    with Booted([*system(SUITE), layer], share(SUITE)) as booted:
        yield booted


def show(device: Booted, key: str) -> str:
    return device.says("systemctl", "show", "--value", "-p", key, UNIT)


def journals(device: Booted) -> str:
    return device.says("journalctl", "--header")


def wait_until_active(device: Booted) -> None:
    wait_for(lambda: show(device, "ActiveState") == "active", 60, lambda: device.journal("-u", UNIT))


def test_the_new_name_is_announced_before_anything_is_done(device: Booted) -> None:
    said = device.run(*INSTALL, "--check").stdout.splitlines()
    assert said[1] == (
        f"install: the device is renamed to interview-grader: {NAME} is a factory name; "
        f"to keep it, stop and add --name {NAME}"
    )
    assert "renamed" not in device.run(*INSTALL, "--check", "--name", NAME).stdout
    assert device.says("hostname") == NAME


def test_the_log_is_kept_where_the_system_keeps_it_in_memory(device: Booted) -> None:
    device.run("logger", "before the installation")
    assert "/var/log/journal" not in journals(device), "as Raspberry Pi OS has it"
    said = device.run(*INSTALL, "--keep-log").stdout
    assert "the storage of the log" in said and "sudo interview-grader-update uninstall" in said
    assert device.says("hostname") == "interview-grader"
    device.run("logger", "before the restart")
    device.reboot()
    wait_until_active(device)
    before = device.journal("-b", "-1")
    assert "before the installation" in before and "before the restart" in before
    assert "SystemMaxUse=64M" in device.says("systemd-analyze", "cat-config", "systemd/journald.conf")
    assert device.run(*INSTALL, "--keep-log").stdout.splitlines()[-1].startswith("install: nothing was")


def test_settings_that_prevent_the_start_are_not_used(device: Booted) -> None:
    blocker = "import socket, time; held = socket.create_server(('0.0.0.0', 22222)); time.sleep(600)"
    device.run("systemd-run", "--quiet", "--unit=blocker", "python3", "-c", blocker)
    given = device.path("/root/config.toml")
    mine = f"{OWNERS}/config.toml"
    for text, words in (
        ("[web]\nport = 22222\n", "another program listens on this port already"),
        ("[web\n", "line 1"),
        ("[web]\nprot = 1\n", "/root/config.toml: web.prot"),
    ):
        given.write_text(text)
        said = device.run(SETUP, "install", "--config", "/root/config.toml").stdout
        assert "/root/config.toml is not used" in said and words in said, said
        assert words in device.path("/root/config.toml.rejected").read_text()
        assert not device.path(mine).exists() and not device.path(f"{mine}.new").exists()
        assert show(device, "ActiveState") == "active"
    device.run("systemctl", "stop", "blocker")
    refused = device.run(SETUP, "install", "--config", "/root/absent", check=False)
    assert refused.returncode == 2 and "/root/absent: no such file" in refused.stderr


def test_valid_settings_are_used_once(device: Booted) -> None:
    given, mine = device.path("/root/config.toml"), device.path(f"{OWNERS}/config.toml")
    given.write_text("[web]\nport = 8443\n")
    said = device.run(SETUP, "install", "--config", "/root/config.toml").stdout
    assert "interview-grader.local:8443/" in said and "is not used" not in said
    assert mine.read_text() == "[web]\nport = 8443\n" and mine.stat().st_mode & 0o777 == 0o644
    assert not device.path("/root/config.toml.rejected").exists()
    given.write_text("[web]\nport = 8444\n")
    said = device.run(SETUP, "install", "--config", "/root/config.toml").stdout
    assert "/root/config.toml is not used, since /etc/interview-grader/config.toml exists" in said
    assert said.splitlines()[-1].startswith("install: nothing was changed")
    assert mine.read_text() == "[web]\nport = 8443\n"


@pytest.mark.parametrize("gone", [False, True], ids=["another Python", "no such Python"])
def test_after_an_upgrade_of_the_system_it_reports_that_in_one_line(device: Booted, gone: bool) -> None:
    [release] = device.path("/opt/interview-grader/releases").iterdir()
    [library] = (release / "venv/lib").glob("python3.*")
    [python] = [path for path in (release / "venv/bin").glob("python*") if path.readlink().is_absolute()]
    older = library.with_name("python3.12")
    target = python.readlink()
    library.rename(older)
    if gone:
        python.unlink()
        python.symlink_to("/usr/bin/python3.12")
    try:
        device.run("systemctl", "reset-failed", UNIT, check=False)
        assert device.run("systemctl", "restart", UNIT, check=False).returncode != 0
        assert (show(device, "ActiveState"), show(device, "ExecMainStatus")) == ("failed", "2")
        assert show(device, "NRestarts") == "0"
        this = f"_SYSTEMD_INVOCATION_ID={show(device, 'InvocationID')}"
        said = device.journal("-u", UNIT, "-t", "interview-grader", this)
        [line] = [each for each in said.splitlines() if "this release needs" in each]
        assert "Traceback" not in said
        assert "would remove" in device.run("interview-grader-update", "uninstall", "--check").stdout
        for typed in (("interview-grader", "check"), (SETUP, "install")):
            done = device.run(*typed, check=False)
            assert done.returncode == 2 and done.stderr.count("\n") == 1, done
            for each in (line, done.stderr):
                assert "needs python3.12" in each and "interview-grader-update uninstall" in each
    finally:
        older.rename(library)
        python.unlink()
        python.symlink_to(target)
    device.run("systemctl", "restart", UNIT)


def test_the_installed_release_removes_itself(device: Booted) -> None:
    certificate = device.path(f"{STATE}/tls-certificate.pem").read_text()
    said = device.run("interview-grader-update", "uninstall", "--check").stdout
    assert "would remove" in said and show(device, "ActiveState") == "active"
    said = device.run("interview-grader-update", "uninstall").stdout
    assert f"{OWNERS} and {STATE}" in said
    found = device.says("find", "/etc", "/opt", "/usr", "/var/lib", "-name", "*interview*grader*")
    assert set(found.split()) == {OWNERS, STATE}
    assert device.says("hostname") == NAME
    assert "Storage=persistent" not in device.says("systemd-analyze", "cat-config", "systemd/journald.conf")
    device.run("logger", "after the removal")
    device.reboot()
    assert "after the removal" not in device.journal("-b", "-1"), "in memory again"
    assert device.path(f"{STATE}/tls-certificate.pem").read_text() == certificate
