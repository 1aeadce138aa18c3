"""The sandbox of commands that root runs: the properties of the unit, including future ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from device.system import release_files as placed_files
from device.system.sandbox import Sandbox

from tests.machine import ROOT

UNIT = (ROOT / "systemd/interview-grader.service").read_text()


@pytest.fixture
def confined(tmp_path: Path) -> Sandbox:
    (tmp_path / "release/systemd").mkdir(parents=True)
    (tmp_path / "release/systemd/interview-grader.service").write_text(UNIT)
    (tmp_path / "etc/systemd/system/interview-grader.service.d").mkdir(parents=True)
    return Sandbox(tmp_path / "release", tmp_path / "state", root=tmp_path)


def service_lines() -> list[str]:
    text = UNIT.partition("[Service]\n")[2].partition("[Install]")[0]
    lines = [line.partition("=") for line in text.splitlines() if line and not line.startswith("#")]
    addresses = ("IPAddressAllow", "IPAddressDeny")  # one by one
    return [
        f"{key}={word}"
        for key, _, value in lines
        for word in (value.split() if key in addresses else [value])
    ]


def test_the_sandbox_has_every_line_of_the_unit_except_how_it_runs(confined: Sandbox) -> None:
    left = {line.partition("=")[0] for line in service_lines() if line not in confined.properties()}
    how_it_runs = {"Type", "NotifyAccess", "ExecStartPre", "ExecStart", "ExecStopPost", "WatchdogSec"}
    how_it_runs |= {"TimeoutStartSec", "TimeoutStopSec", "TimeoutAbortSec", "Restart", "RestartSec"}
    how_it_runs |= {"RestartMode", "RestartPreventExitStatus", "RuntimeDirectory", "WorkingDirectory"}
    limits = {"TasksMax", "MemoryHigh", "MemoryMax"}
    log = {"SyslogIdentifier", "LogRateLimitIntervalSec", "LogRateLimitBurst"}
    assert left <= how_it_runs | limits | log, "add a new line here if it may be left out"
    kept = [line for line in service_lines() if line.partition("=")[0] not in left]
    assert confined.properties() == kept and "NoNewPrivileges=yes" in kept and "User=interview-grader" in kept


def test_the_sandbox_has_what_the_device_and_a_future_release_add(confined: Sandbox) -> None:
    added = confined.root / "etc/systemd/system/interview-grader.service.d/networks.conf"
    added.write_text("# a\n[Unit]\nAfter=x\n[Service]\nIPAddressAllow=203.0.113.0/24 \\\n  198.51.100.0/24\n")
    unit = confined.release / "systemd/interview-grader.service"
    unit.write_text(UNIT.replace("[Install]", "ProtectEverything=yes\n[Install]"))
    found = confined.properties()
    assert found[-2:] == ["IPAddressAllow=203.0.113.0/24", "IPAddressAllow=198.51.100.0/24"]
    assert "After=x" not in found
    assert "ProtectEverything=yes" in found


def test_systemd_runs_it_with_pipes_and_the_complete_sandbox(confined: Sandbox) -> None:
    words = confined.command(["check", "--debug"], "a.service", {"LANG": "C"}, by_systemd=True)
    assert words[0] == "systemd-run" and words[-3:] == ["--", "check", "--debug"]
    assert {"--pipe", "--wait", "--collect", "--unit=a.service", "--setenv=LANG=C"} <= set(words)
    assert "--pty" not in words
    assert {f"--property={line}" for line in confined.properties()} <= set(words)


def test_a_command_sees_the_files_of_its_caller(confined: Sandbox) -> None:
    words = confined.command(["backup"], "a.service", {}, sees_files=True, by_systemd=True)
    there = {f"--property={line}" for line in confined.properties()} - set(words)
    assert there == {
        f"--property={each}" for each in ("ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes")
    }
    assert "--property=ProtectSystem=full" in words


def test_a_release_uses_its_own_board_files_not_the_installed_ones(
    confined: Sandbox,
) -> None:
    boards, placed = confined.release / "provisioning/boards", confined.root / placed_files.BOARD_FILE
    boards.mkdir(parents=True)
    (boards / "pc.toml").write_text("")
    (boards / "pc.conf").write_text("[Service]\nDeviceAllow=/dev/own rw\n")
    unit = confined.root / placed_files.BOARD_UNIT
    unit.write_text("[Service]\nDeviceAllow=/dev/other rw\n")
    assert not any(line.startswith("BindReadOnlyPaths=") for line in confined.properties())
    placed.parent.mkdir(parents=True)
    placed.write_text("[web]\nnovelty = true\n")
    found = confined.properties()
    assert "DeviceAllow=/dev/own rw" in found and "DeviceAllow=/dev/other rw" not in found
    assert found[-1] == f"BindReadOnlyPaths={boards / 'pc.toml'}:{placed}"
