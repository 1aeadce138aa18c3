"""Which names are the device's own."""

from __future__ import annotations

import pytest

from appliance.system import host_names
from appliance.system.host_names import LOCAL_SUFFIXES, device_names, is_own_name


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device's host name is Room-7.example."""
    monkeypatch.setattr(host_names.socket, "gethostname", lambda: "Room-7.example")


@pytest.mark.parametrize(
    "name",
    [
        "room-7",
        "room-7-2",
        "room-7-2.local",
        "room-7-99.local",
        *(f"room-7.{suffix}" for suffix in LOCAL_SUFFIXES),
        "room-7-3.fritz.box",
        "interview-grader.local",
        *("room-7.local", "room-7.lan", "room-7.home", "room-7.fritz.box"),
    ],
)
def test_own_names(name: str) -> None:
    assert is_own_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("room-7.example", "room-7.com", "room-7.box", "room-7.local.example", "a.room-7.local"),
        *("room-71.local", "room-7-1.local", "room-7-0.local", "room-7-02.local", "room-7-100.local"),
        *("room-7-x.local", "room-7-2-2.local", "room-7-", "room-7.", "room.local", "room-8.local"),
        *(
            "local",
            ".local",
            "",
            "interview-grader",
            "interview-grader.lan",
            "interview-grader.local.example",
        ),
    ],
)
def test_names_that_others_may_have(name: str) -> None:
    assert not is_own_name(name)


@pytest.mark.parametrize("host_name", ["", ".local"])
def test_a_device_without_a_label_has_only_the_documented_name(
    host_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_names.socket, "gethostname", lambda: host_name)
    assert not any(map(is_own_name, ("", "-2", "-2.local", ".local")))
    assert is_own_name("interview-grader.local")
    assert device_names() == ["interview-grader.local", "localhost"]


def test_every_certified_name_is_answered() -> None:
    assert all(is_own_name(name) for name in device_names() if name != "localhost")
