"""Chooses the camera and makes it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from appliance import registry
from appliance.cameras.rotation import RotatedCamera, Rotation
from appliance.configuration.load import BackendConfig, backend_settings
from appliance.errors import BackendMissing
from appliance.ports import Camera

log = logging.getLogger("appliance.build")

AUTO_ORDER = ("csi", "usb", "demo")
"""The cameras that `auto` looks for; the first one present wins."""


def choose_camera(wanted: BackendConfig, origins: Mapping[str, str], *, installed: bool) -> BackendConfig:
    """The camera to use. `auto` looks which cameras are present, and logs which it takes and why.

    `origins`: where each key was set; `installed`: on an installed device `auto` never takes the demo clip.
    Raises `ConfigErrors` where the chosen camera does not take the settings.
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
            reasons.append(f"no {name} ({error.reason})")
            continue
        presence = backend_class.discover()
        if presence.found:
            log.info(
                "camera: auto takes %s: %s%s", name, presence.why, "".join(f"; {each}" for each in reasons)
            )
            table = {key: value for key, value in given.items() if key in backend_class.Settings.model_fields}
            settings = backend_settings("camera", backend_class.Settings, table, origins)
            return BackendConfig(name, settings)
        reasons.append(f"no {name} ({presence.why})")
    log.warning("camera: auto found none: %s; waiting for a usb camera", "; ".join(reasons))
    usb = registry.load("camera", "usb")
    return BackendConfig("usb", backend_settings("camera", usb.Settings, given, origins))


def make_camera(chosen: BackendConfig) -> Camera:
    """A chosen camera, closed; raises `ConfigError` for what can never be a camera, such as a text file."""
    camera: Camera = registry.load("camera", chosen.backend)(chosen.settings)
    rotation: Rotation = getattr(chosen.settings, "rotate", 0)  # another package's backend may have none
    return RotatedCamera(camera, rotation) if rotation else camera
