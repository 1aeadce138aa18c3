"""Backends by name: ours, and those of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import registry
from appliance.errors import BackendMissing
from appliance.ports import CameraBackend, EngineBackend, LampsBackend


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in registry.KINDS.items() for name in names]
)
def test_every_backend_of_ours_loads_without_its_device(kind: str, name: str) -> None:
    found = registry.load(kind, name)
    assert isinstance(found, type)
    assert found.Settings.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    ("kind", "port"),
    [("camera", CameraBackend), ("engine", EngineBackend), ("lamps", LampsBackend)],
)
def test_every_backend_of_ours_has_all_members_of_its_port(kind: str, port: type) -> None:
    asked = {*port.__annotations__, *vars(port), "Settings"}
    for name in registry.KINDS[kind]:
        found = registry.load(kind, name)
        for member in (each for each in asked if not each.startswith("_")):
            assert hasattr(found, member), f"{name}: {member}"


@pytest.mark.parametrize(
    ("backend", "fallback", "float_models", "build"),
    [
        ("tflite", False, False, False),
        ("replay", False, False, False),
        ("coral", True, False, False),
        ("tensorrt", True, True, True),
    ],
)
def test_what_each_engine_can_do(backend: str, fallback: bool, float_models: bool, build: bool) -> None:
    found = registry.load("engine", backend)
    assert (found.needs_fallback, found.float_models, found.needs_build) == (fallback, float_models, build)


def test_only_files_are_videos() -> None:
    assert {name for name in registry.CAMERAS if registry.load("camera", name).is_video} == {"replay", "demo"}


@pytest.mark.parametrize("kind", sorted(registry.KINDS))
def test_an_unknown_name_is_reported_with_the_known_ones(kind: str) -> None:
    with pytest.raises(BackendMissing) as caught:
        registry.load(kind, "nosuch")
    assert caught.value.value == "nosuch"
    assert caught.value.key == f"{kind}.backend"
    assert all(name in caught.value.reason for name in registry.KINDS[kind])


def test_a_misspelt_name_is_reported_with_the_nearest() -> None:
    with pytest.raises(BackendMissing, match="did you mean 'replay'"):
        registry.load("camera", "reply")


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with backends."""
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[interview_grader.cameras]\n"
        "drone = foreign_camera:Drone\nusb = foreign_camera:Drone\n"
        "gone = foreign_gone:Camera\nhollow = foreign_camera:Nothing\n"
        "[interview_grader.engines]\nnpu = foreign_camera:Npu\n"
        "[interview_grader.lamps]\nmatrix = foreign_camera:Matrix\n"
    )
    (tmp_path / "foreign_camera.py").write_text(
        "class Drone:\n    pass\nclass Npu:\n    float_models = True\nclass Matrix:\n    present = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("foreign")
class TestOtherPackages:
    """Found by entry points in groups such as `interview_grader.cameras`, after our own."""

    def test_a_backend_is_found(self) -> None:
        assert registry.load("camera", "drone").__name__ == "Drone"
        assert registry.load("camera", "drone") is registry.load("camera", "drone")
        assert "drone" in registry.names("camera")

    def test_a_camera_may_omit_what_has_a_default(self) -> None:
        drone = registry.load("camera", "drone")
        assert drone.argument == "" and not drone.is_video and not drone.discover().found

    def test_an_engine_may_omit_what_has_a_default(self) -> None:
        npu = registry.load("engine", "npu")
        assert npu.float_models, "its own definition wins"
        assert not npu.needs_fallback and not npu.needs_build
        assert npu.inventory(None) == ""

    def test_lamps_are_found(self) -> None:
        assert registry.load("lamps", "matrix").__name__ == "Matrix"

    def test_ours_come_first(self) -> None:
        assert registry.load("camera", "usb").__module__ == "appliance.cameras.usb"
        assert registry.names("camera").count("usb") == 1

    @pytest.mark.parametrize("name", ["gone", "hollow"])
    def test_one_that_cannot_be_imported_is_missing(self, name: str) -> None:
        with pytest.raises(BackendMissing) as caught:
            registry.load("camera", name)
        assert caught.value.value == name
