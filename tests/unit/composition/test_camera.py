"""Which camera `auto` selects, and that its settings fit every camera that it may select."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import annotated_types
import numpy as np
import pytest

from appliance import registry
from appliance.cameras.rotated import RotatedCamera
from appliance.cameras.rotation import Rotation
from appliance.composition import camera as cameras
from appliance.configuration import layers
from appliance.configuration import load as config
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.configuration.settings import AutoCamera
from appliance.media.shrink import frame_of
from appliance.ports import Discovery
from tests.fakes.files import encoded
from tests.fakes.parts import ScriptedCamera, picture

ROTATIONS = get_args(Rotation)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (layers, config):
        monkeypatch.setattr(module, "BOARD_FILE", tmp_path / "board.toml")
    monkeypatch.setattr(layers, "OWNER_FILE", tmp_path / "etc" / "config.toml")


def limits() -> list[tuple[str, Any]]:
    """Each key of `auto` with its smallest and its largest value."""
    return [
        (key, getattr(limit, side))
        for key, field in AutoCamera.model_fields.items()
        for limit in field.metadata
        for kind, side in ((annotated_types.Ge, "ge"), (annotated_types.Le, "le"))
        if isinstance(limit, kind)
    ] + [("rotate", value) for value in (ROTATIONS[0], ROTATIONS[-1])]


def test_every_key_of_auto_has_both_limits() -> None:
    assert sorted(key for key, _ in limits()) == sorted([*AutoCamera.model_fields] * 2)


@pytest.mark.parametrize(("key", "value"), limits())
@pytest.mark.parametrize("backend", [*cameras.AUTO_ORDER, None])
def test_the_settings_of_auto_fit_every_camera(
    monkeypatch: pytest.MonkeyPatch, backend: str | None, key: str, value: Any
) -> None:
    for name in cameras.AUTO_ORDER:
        discovery = Discovery(name == backend, "as the test says")
        monkeypatch.setattr(
            registry.load("camera", name), "discover", staticmethod(lambda found=discovery: found)
        )
    wanted = load_config(ConfigOptions(settings=[f"camera.{key}={value}"]), {"XDG_STATE_HOME": "/nowhere"})
    chosen = cameras.choose_camera(wanted.camera, wanted.origins, installed=False)
    assert chosen.backend == (backend or "usb")
    assert getattr(chosen.settings, key, value) == value


def test_auto_never_selects_the_demo_clip_on_an_installed_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in cameras.AUTO_ORDER:
        discovery = Discovery(name == "demo", "as the test says")
        monkeypatch.setattr(
            registry.load("camera", name), "discover", staticmethod(lambda found=discovery: found)
        )
    wanted = load_config(ConfigOptions(), {"XDG_STATE_HOME": "/nowhere"})
    assert cameras.choose_camera(wanted.camera, wanted.origins, installed=True).backend == "usb"


@pytest.mark.parametrize("backend", cameras.AUTO_ORDER)
def test_a_setting_that_the_chosen_camera_refuses_is_reported(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    for name in cameras.AUTO_ORDER:
        discovery = Discovery(name == backend, "as the test says")
        monkeypatch.setattr(
            registry.load("camera", name), "discover", staticmethod(lambda found=discovery: found)
        )
    narrow = type("Narrow", (registry.load("camera", backend).Settings,), {"__annotations__": {"fps": int}})
    monkeypatch.setattr(registry.load("camera", backend), "Settings", narrow)
    wanted = load_config(ConfigOptions(settings=["camera.fps=2.5"]), {"XDG_STATE_HOME": "/nowhere"})
    with pytest.raises(config.ConfigErrors, match=r"camera\.fps = 2\.5"):
        cameras.choose_camera(wanted.camera, wanted.origins, installed=False)


@pytest.mark.parametrize(("rotation", "size"), [(90, (1440, 2560)), (180, (2560, 1440))])
def test_a_rotated_picture_keeps_its_source_and_loses_its_jpeg(
    rotation: Rotation, size: tuple[int, int]
) -> None:
    upright = picture(2560, 1440)
    upright[:200, :200] = 255
    camera = ScriptedCamera([])
    camera.next = lambda number: replace(frame_of(upright), jpeg=b"upright")
    turned = RotatedCamera(camera, rotation).read(1.0)
    assert (turned.width, turned.height) == size and turned.jpeg is None
    assert turned.full_size is not None
    full = turned.full_size()
    assert np.array_equal(full, np.rot90(upright, -(rotation // 90)))
    assert turned.image.shape[:2] == ((1920, 1080) if rotation == 90 else (1080, 1920))
    assert turned.image[10, -10].min() == (255 if rotation == 90 else 0)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_camera_rotates_its_pictures(tmp_path: Path, rotation: Rotation) -> None:
    path = tmp_path / "corner.png"
    upright = picture(48, 32)
    upright[:8, :16] = 255  # white in the left upper corner, grey to the right of it
    upright[:8, 16:20] = 128
    path.write_bytes(encoded(upright, ".png"))
    wanted = ConfigOptions(settings=[f"camera.rotate={rotation}"], camera=f"replay:{path}")
    camera, _ = cameras.make_camera(load_config(wanted, {"XDG_STATE_HOME": "/nowhere"}).camera)
    assert camera.missing() is None
    camera.open()
    turned = camera.read(1.0)
    camera.forget()
    camera.close()
    degrees = int(str(rotation).removeprefix("mirror").lstrip("-") or 0)
    expected = np.rot90(upright[:, ::-1] if "mirror" in str(rotation) else upright, -(degrees // 90))
    assert np.array_equal(turned.image, expected)
    assert not turned.image.flags.writeable and camera.needs_consent is False


@pytest.mark.parametrize("backend", ["usb", "csi", "jetson", "demo", "auto"])
@pytest.mark.parametrize("value", ["45", "true", "mirrored"])
def test_an_invalid_rotation_is_reported_with_the_valid_ones(backend: str, value: str) -> None:
    with pytest.raises(config.ConfigErrors, match=r"camera\.rotate.*270.*'mirror'"):
        load_config(
            ConfigOptions(settings=[f"camera.rotate={value}"], camera=backend), {"XDG_STATE_HOME": "/nowhere"}
        )
