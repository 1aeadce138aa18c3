"""The settings of each section, with default, unit, limits and one line of help.

A backend's settings are in the backend's own file.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from appliance.cameras.rotation import RotatableSettings
from appliance.consent.law import Institution, Purpose, Region
from appliance.consent.notice import KEEP_DAYS
from appliance.hardware.gpio import PinFactory


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AutoCamera(RotatableSettings):
    """Settings of `camera.backend = "auto"`: csi, then usb, then the demo clip."""

    # Limits that every camera of its order takes: the narrowest of theirs.
    width: int = Field(1280, ge=16, le=4608, description="Width to ask the camera for, in pixels.")
    height: int = Field(720, ge=16, le=2592, description="Height to ask the camera for, in pixels.")
    fps: float = Field(30.0, ge=2, le=240, description="Frames a second to ask the camera for.")


class AutoEngine(_Section):
    """Settings of `engine.backend = "auto"`: those of the engine taken that are not its defaults."""

    threads: int = Field(1, ge=1, le=16, description="Threads for one model on the CPU.")
    library: str = Field("libedgetpu.so.1", min_length=1, description="The Edge TPU's library, as for coral.")
    device: str = Field("usb", description="Which Edge TPU, as for coral.")
    compiled: str = Field(
        "/var/lib/interview-grader/edgetpu",
        description="Folder of models compiled for the Edge TPU, as for coral.",
    )
    onnx: str = Field("", description="Folder with the models as ONNX, as for tensorrt.")
    plans: str = Field(
        "/var/lib/interview-grader/tensorrt",
        description="Folder in which the engines that TensorRT built are kept, as for tensorrt.",
    )


class VisionSettings(_Section):
    """Which models run, and the limits of the analysis."""

    models: str = Field("", description="Folder with manifest.toml and models; empty: the ones that ship.")
    detector: str = Field("", description="Name of the detector in the manifest; empty: its default.")
    verifier: str = Field(
        "", description="Name of the detector that takes a second, close look; empty: the manifest's default."
    )
    classifier: str = Field("", description="Name of the classifier in the manifest; empty: its default.")
    threshold: float = Field(
        0.5, gt=0, lt=1, description="A face needs at least this mean score of three looks."
    )
    max_people: int = Field(
        8,
        ge=1,
        le=32,
        description="How many faces of a video are read, the largest first; a newcomer needs twice the area"
        " of a face that is followed to take its place. Still pictures have no limit.",
    )
    smoothing_s: float = Field(
        0.8,
        ge=0,
        le=5,
        description="A steady face's scores are a mean over this long, in s; a change is followed at once."
        " 0: no smoothing.",
    )
    unsure_below: float = Field(0.5, ge=0, le=1, description="With a smaller top score the label is unsure.")
    # The defaults of these limits, and of unsure_below, were measured: docs/quality.md says how.
    min_face_px: float = Field(
        13.0, ge=0, le=500, description="A face of fewer pixels across (the detector's box) is small."
    )
    max_yaw: float = Field(
        40.0, gt=0, le=180, description="Beyond it to either side a face is turned, in degrees."
    )
    max_pitch: float = Field(
        25.0, gt=0, le=180, description="Beyond it up or down a face is turned, in degrees."
    )
    min_sharpness: float = Field(
        3.1, ge=0, le=20, description="A face with coarser detail is blurred, in cycles per face width."
    )
    dark_below: float = Field(
        36.0, ge=0, le=255, description="A face is dark when three quarters of it are darker than this level."
    )
    bright_above: float = Field(
        202.0,
        ge=0,
        le=255,
        description="A face is bright when three quarters of it are brighter than this level.",
    )
    min_contrast: float = Field(
        19.0, ge=0, le=255, description="A face with fewer levels between dark and bright is dark or bright."
    )
    covered_above: float = Field(
        0.5,
        ge=0,
        le=1,
        description="A face is covered when mouth or eyes are, with more than this probability.",
    )
    expiry_s: float = Field(
        2.0, gt=0, le=30, description="A face unseen for longer loses its number, in seconds."
    )


class WebSettings(_Section):
    """The page."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 for the network, which then needs TLS and login.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    redirect_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which browsers are only sent on to the page, where that is encrypted; 0: none.",
    )
    max_viewers: int = Field(
        8, ge=1, le=64, description="Pictures streamed at once; one more is answered 503."
    )
    jpeg_quality: int = Field(80, ge=10, le=100, description="JPEG quality of the pictures.")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Further names by which browsers may call this device (the Host header)."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _bare_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", name):
                raise ValueError(f"{name!r}: expected a name alone, as in grader.example: no scheme, no port")
        return tuple(name.lower() for name in names)


class AccessSettings(_Section):
    """Logins, TLS and limits of the page."""

    open_to_network: bool = Field(
        False,
        description="Let everyone on the network see the page without login and TLS, instead of with both.",
    )
    certificate: str = Field(
        "", description="PEM file of your own certificate with its chain; empty: the device makes its own."
    )
    key: str = Field("", description="PEM file of the key of access.certificate, without a passphrase.")
    loopback: Literal["auto", "operator", "login"] = Field(
        "auto",
        description="Clients on the device itself: operator, every local account without a login; or login,"
        " as any client. auto: login on an installed device, operator elsewhere.",
    )
    idle_minutes: float = Field(
        60.0, ge=1, le=10080, description="A login that nobody used for so long has ended, in minutes."
    )
    longest_days: float = Field(
        30.0, ge=0.01, le=365, description="Every login ends after this many days, however much it is used."
    )
    requests_per_s: float = Field(
        50.0, ge=5, le=1000, description="Requests a second from one address; more are answered 429."
    )
    connections_per_address: int = Field(
        16,
        ge=8,
        le=256,
        description="Connections that one address may hold; a page in a browser takes up to 7.",
    )


class SessionSettings(_Section):
    """Consent: the notice and the button."""

    notice: str = Field("", description="File with the owner's own notice; empty: the one that ships.")
    longest_hours: float = Field(
        12.0,
        ge=0.1,
        le=24,
        description="An agreement that nobody ended has ended after so long, in hours.",
    )
    button_pin: int = Field(
        -1,
        ge=-1,
        le=64,
        description="Pin of the button: a GPIO number, on a Jetson one of the header; -1: none.",
    )
    button_factory: Literal[PinFactory, "jetson"] = Field(
        "default",
        description="gpiozero's pin factory for the button, or jetson: Jetson.GPIO; mock drives no hardware.",
    )
    button_people: int = Field(
        1, ge=1, le=32, description="How many people agree when the button starts a session."
    )
    printed_notice: str = Field(
        "",
        description="Version of the notice printed beside the button; empty, or an old one: the button starts"
        " nothing.",
    )


class JurisdictionSettings(_Section):
    """Where the device is, its purpose and its user. The page asks once; analysis is off until then."""

    region: Literal["", Region] = Field("", description="Where the device stands.")
    purpose: Literal["", Purpose] = Field(
        "", description="What it is used for; hiring is refused in the EU (AI Act, Article 5(1)(f))."
    )
    institution: Literal["", Institution] = Field(
        "",
        description="Who uses it: an employer (with people who work there or apply), a school or university "
        "(with people who learn there or apply), or neither. Asked in the EU, which refuses the first two.",
    )


LONGEST_DAYS = 30
"""No record is kept longer, whatever the settings."""


class StorageSettings(_Section):
    """Records of sessions: numbers, never pictures."""

    keep_days: int = Field(
        KEEP_DAYS, ge=1, le=LONGEST_DAYS, description="Days after which a session is erased by itself."
    )
    min_free_mb: int = Field(
        200,
        ge=0,
        le=1_000_000,
        description="Recording stops when the disk has less room than this, in millions of bytes.",
    )


PLAIN_SECTIONS: dict[str, type[BaseModel]] = {
    "vision": VisionSettings,
    "web": WebSettings,
    "access": AccessSettings,
    "session": SessionSettings,
    "lawful": JurisdictionSettings,
    "storage": StorageSettings,
}
"""Sections with one set of keys."""

AUTO_SETTINGS: dict[str, type[BaseModel]] = {"camera": AutoCamera, "engine": AutoEngine}
"""The settings of `auto`, for each section whose backend may be `auto`."""

BACKEND_SECTIONS = {"camera": "auto", "engine": "tflite", "lamps": "none"}
"""Sections whose keys belong to the backend that they name, and their default backend."""
