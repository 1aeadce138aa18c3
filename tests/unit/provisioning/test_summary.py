"""What the installer prints at the end, from the status alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from device.install import summary
from device.layout import Layout
from device.system.status import Status


def printed(capsys: pytest.CaptureFixture[str], root: Path, status: Status, fault: str = "") -> list[str]:
    summary.print_ready(Layout(root), status, fault)
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_a_new_device(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status = Status(
        running=True,
        health="idle",
        address="https://room.local:8443/",
        first_code="AAAA-BBBB-CCCC",
        certificate_sha256="AA:BB",
        lamps=False,
    )
    lines = printed(capsys, tmp_path, status, "config.toml is not used")
    assert "address      https://room.local:8443/" in lines
    assert "first code   AAAA-BBBB-CCCC   type it there and set the operator's password" in lines
    assert "certificate  SHA-256 AA:BB" in lines
    assert "health       idle" in lines
    assert "lamps        none on this board" in lines
    assert any(line.startswith("updates      refused") for line in lines)
    assert "settings     config.toml is not used" in lines


def test_a_device_with_a_password_and_lamps(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    signers = Layout(tmp_path).signers
    signers.parent.mkdir(parents=True)
    signers.touch()
    text = "\n".join(
        printed(capsys, tmp_path, Status(running=True, health="failing", reason="camera lost", lamps=True))
    )
    assert "health       camera lost" in text and "camera: the camera is open" in text
    for absent in ("first code", "certificate", "updates", "settings  "):
        assert absent not in text


def test_text_from_the_service_cannot_control_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = printed(capsys, tmp_path, Status(running=True, health="ok", first_code="\x1b[2Jx"))
    assert any(line.startswith(r"first code   \u001b[2Jx") for line in lines)
