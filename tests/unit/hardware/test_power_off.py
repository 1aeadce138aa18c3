"""The call to logind, and the errors if it fails; a test on a booted device shows that it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import PowerError
from appliance.hardware.power_off import power_off


@pytest.fixture
def busctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `busctl` that records its arguments; the text of `answer` is the end of its script."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def answering(folder: Path, how: str) -> None:
    command = folder / "busctl"
    command.write_text(f'#!/bin/sh\necho "$@" > {folder}/asked\n{how}\n')
    command.chmod(0o755)


def test_logind_is_called_without_a_password_prompt(busctl: Path) -> None:
    answering(busctl, "exit 0")
    power_off()
    assert (busctl / "asked").read_text().split() == [
        *("--system", "call", "org.freedesktop.login1", "/org/freedesktop/login1"),
        *("org.freedesktop.login1.Manager", "PowerOff", "b", "false"),
    ]


def test_a_refusal_is_reported_with_its_reason(busctl: Path) -> None:
    answering(busctl, 'echo "Call failed: Access denied" >&2; exit 1')
    with pytest.raises(PowerError, match=r"Access denied; it needs the rule /etc/polkit-1/rules\.d") as error:
        power_off()
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("busctl")
def test_without_systemd_the_error_names_it() -> None:
    with pytest.raises(PowerError, match="busctl"):
        power_off()
