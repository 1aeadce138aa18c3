"""The name of a device: only a factory name is replaced automatically."""

from __future__ import annotations

import pytest
from device.errors import UserError
from device.system import hostname


@pytest.mark.parametrize(
    ("now", "asked", "wanted"),
    [
        ("raspberrypi", None, "interview-grader"),
        ("tegra-ubuntu", None, "interview-grader"),
        ("nvidia-desktop", None, "interview-grader"),
        ("jetson-desktop", None, "interview-grader"),
        ("ubuntu", None, "interview-grader"),
        ("room1", None, "room1"),
        ("raspberrypi2", None, "raspberrypi2"),
        ("jetson", "raspberrypi", "raspberrypi"),
        ("room1", "room2", "room2"),
        ("raspberrypi", "raspberrypi", "raspberrypi"),
    ],
)
def test_only_a_factory_name_is_replaced(
    monkeypatch: pytest.MonkeyPatch, now: str, asked: str | None, wanted: str
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: now)
    assert hostname.desired_name(asked) == wanted
    said = hostname.rename_notice(wanted, asked)
    assert bool(said) is (now != wanted)
    if said:
        assert now in said and wanted in said
        assert ("--name" in said) is (asked is None), "it says how to keep the name, unless one was given"


def test_an_invalid_name_is_refused() -> None:
    with pytest.raises(UserError, match="--name a_b: expected"):
        hostname.desired_name("a_b")
