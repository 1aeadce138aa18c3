"""Chooses and builds the camera."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from appliance import registry
from appliance.cameras.rotated import RotatedCamera
from appliance.cameras.rotation import Rotation
from appliance.configuration.load import BackendConfig, backend_settings
from appliance.errors import BackendMissing
from appliance.media.ingest import Ingest
from appliance.ports import Camera

log = logging.getLogger("appliance.build")

AUTO_ORDER = ("csi", "usb", "demo")
"""The cameras that `auto` looks for; it selects the first one present."""


def choose_camera(wanted: BackendConfig, origins: Mapping[str, str], *, installed: bool) -> BackendConfig:
    """The camera to use. `auto` checks which cameras are present, and logs its selection and the reason.

    `origins`: where each key was set; `installed`: on an installed device `auto` never selects the demo clip.
    Raises `ConfigErrors` if the settings do not fit the selected camera.
    """
    if wanted.backend != "auto":
        return wanted
    given = wanted.settings.model_dump(exclude_unset=True)
    reasons = []
    for name in AUTO_ORDER:
        if name == "demo" and installed:
            break
        try:
            backend_class = registry.load("camera", name)
        except BackendMissing as error:
            reasons.append(f"{name} unavailable: {error.reason}")
            continue
        presence = backend_class.discover()
        if presence.found:
            selected = f"camera: auto selected {name} ({presence.why})"
            log.info("%s", "; ".join([selected, *reasons]))
            table = {key: value for key, value in given.items() if key in backend_class.Settings.model_fields}
            settings = backend_settings("camera", backend_class.Settings, table, origins)
            return BackendConfig(name, settings)
        reasons.append(f"{name} unavailable: {presence.why}")
    log.warning("camera: auto found none: %s; waiting for a USB camera", "; ".join(reasons))
    usb = registry.load("camera", "usb")
    return BackendConfig("usb", backend_settings("camera", usb.Settings, given, origins))


def make_camera(chosen: BackendConfig) -> tuple[Camera, Ingest | None]:
    """The chosen camera, closed, and what the web server fills, if a browser is the camera.

    Raises `ConfigError` if it can never be a camera, such as a text file.
    """
    camera = registry.load("camera", chosen.backend)(chosen.settings)
    ingest: Ingest | None = getattr(camera, "ingest", None)  # only the camera `browser` has one
    rotation: Rotation = getattr(chosen.settings, "rotate", 0)  # another package's backend may have none
    return RotatedCamera(camera, rotation) if rotation else camera, ingest
