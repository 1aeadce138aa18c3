"""Backends by name, ours and those of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import registry
from appliance.errors import BackendMissing


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in registry.KINDS.items() for name in names]
)
def test_every_backend_of_ours_loads_without_its_device(kind: str, name: str) -> None:
    found = registry.load(kind, name)
    assert isinstance(found, type)
    if kind != "sink":
        assert found.Settings.model_config["extra"] == "forbid"


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_an_unknown_name_is_answered_with_the_known_ones(kind: str) -> None:
    with pytest.raises(BackendMissing) as caught:
        registry.load(kind, "nosuch")
    assert caught.value.value == "nosuch"
    assert caught.value.key == f"{kind}.backend"
    assert all(name in caught.value.reason for name in registry.KINDS[kind])


def test_a_name_with_a_slip_is_answered_with_the_nearest() -> None:
    with pytest.raises(BackendMissing, match="did you mean 'replay'"):
        registry.load("camera", "reply")


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of somebody else with backends of its own."""
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[interview_grader.cameras]\n"
        "drone = foreign_camera:Drone\nusb = foreign_camera:Drone\n"
        "gone = foreign_gone:Camera\nhollow = foreign_camera:Nothing\n"
    )
    (tmp_path / "foreign_camera.py").write_text("class Drone:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("foreign")
class TestOtherPackages:
    """Found by entry points in the group `interview_grader.cameras`, after our own."""

    def test_a_backend_is_found(self) -> None:
        assert registry.load("camera", "drone").__name__ == "Drone"
        assert "drone" in registry.names("camera")

    def test_ours_come_first(self) -> None:
        assert registry.load("camera", "usb").__module__ == "appliance.cameras.usb"
        assert registry.names("camera").count("usb") == 1

    @pytest.mark.parametrize("name", ["gone", "hollow"])
    def test_one_that_cannot_be_imported_is_missing(self, name: str) -> None:
        with pytest.raises(BackendMissing) as caught:
            registry.load("camera", name)
        assert caught.value.value == name
