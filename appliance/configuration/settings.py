"""The settings of each section, with default, unit, limits and one line of help.

The settings of a backend are in the backend's file.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from appliance.cameras.rotation import RotatableSettings
from appliance.consent.law import Institution, Purpose, Region
from appliance.consent.notice import KEEP_DAYS
from appliance.hardware.gpio import PinFactory

_ORIGIN = re.compile(r"https?://[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(:[0-9]{1,5})?")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AutoCamera(RotatableSettings):
    """Settings of `camera.backend = "auto"`: csi, then usb, then the demo clip."""

    # The narrowest limits of all cameras that `auto` may select.
    width: int = Field(1280, ge=16, le=4608, description="Requested width, in pixels.")
    height: int = Field(720, ge=16, le=2592, description="Requested height, in pixels.")
    fps: float = Field(30.0, ge=2, le=240, description="Requested frames per second.")


class AutoEngine(_Section):
    """Settings of `engine.backend = "auto"`, passed to the engine that it selects."""

    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = Field(
        "auto", description="As for tflite: which TFLite runtime to load."
    )
    threads: int = Field(1, ge=1, le=16, description="Threads for one model on the CPU.")
    library: str = Field("libedgetpu.so.1", min_length=1, description="As for coral: the Edge TPU library.")
    device: str = Field("usb", description="As for coral: which Edge TPU to use.")
    compiled: str = Field(
        "/var/lib/interview-grader/edgetpu",
        description="As for coral: folder of models compiled for the Edge TPU.",
    )
    onnx: str = Field("", description="As for tensorrt: folder of ONNX models.")
    plans: str = Field(
        "/var/lib/interview-grader/tensorrt",
        description="As for tensorrt: folder of the engines that TensorRT built.",
    )


class VisionSettings(_Section):
    """Which models run, and the limits of the analysis."""

    models: str = Field("", description="Folder with manifest.toml and models; empty: the included models.")
    detector: str = Field("", description="Detector, as named in the manifest; empty: its default.")
    verifier: str = Field(
        "",
        description="Detector that confirms faces at close range, as named in the manifest; empty: its"
        " default.",
    )
    classifier: str = Field("", description="Classifier, as named in the manifest; empty: its default.")
    threshold: float = Field(
        0.5, gt=0, lt=1, description="Minimum score of a face, as the mean of its detections."
    )
    max_people: int = Field(
        8,
        ge=1,
        le=32,
        description="Maximum number of faces read in a video, the largest first; a new face replaces a"
        " tracked one only if it has twice its area. Still pictures have no limit.",
    )
    smoothing_s: float = Field(
        0.8,
        ge=0,
        le=5,
        description="Seconds over which the scores of a steady face are averaged; a real change is followed"
        " immediately. 0: no smoothing.",
    )
    unsure_below: float = Field(
        0.5, ge=0, le=1, description="Report `unsure` when the highest score is below this."
    )
    # The defaults of these limits, and of unsure_below, were measured: see docs/quality.md.
    min_face_px: float = Field(
        13.0, ge=0, le=500, description="Width of the detector's box, in pixels, below which a face is small."
    )
    max_yaw: float = Field(
        40.0, gt=0, le=180, description="Angle to either side above which a face is turned, in degrees."
    )
    max_pitch: float = Field(
        25.0, gt=0, le=180, description="Angle up or down above which a face is turned, in degrees."
    )
    min_sharpness: float = Field(
        3.1, ge=0, le=20, description="Detail below which a face is blurred, in cycles per face width."
    )
    dark_below: float = Field(
        36.0, ge=0, le=255, description="A face is dark if three quarters of it are below this grey level."
    )
    bright_above: float = Field(
        202.0,
        ge=0,
        le=255,
        description="A face is bright if three quarters of it are above this grey level.",
    )
    min_contrast: float = Field(
        19.0,
        ge=0,
        le=255,
        description="A face with fewer grey levels between its dark and bright parts is dark or bright.",
    )
    covered_above: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Probability that mouth or eyes are covered, above which a face is covered.",
    )
    expiry_s: float = Field(
        2.0, gt=0, le=30, description="Seconds after which a face that is no longer found loses its number."
    )


class WebSettings(_Section):
    """The page."""

    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 allows the network, with TLS and login.",
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 chooses a free one.")
    redirect_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port that redirects HTTP to HTTPS; 0 disables it.",
    )
    max_viewers: int = Field(
        8,
        ge=1,
        le=64,
        description="Maximum number of streams at a time, operators not counted; more get the status 503.",
    )
    max_webcams: int = Field(
        2,
        ge=1,
        le=8,
        description="Maximum number of clients that send their own pictures (/ws/analyze); more get the"
        " status 503.",
    )
    jpeg_quality: int = Field(
        80,
        ge=10,
        le=100,
        description="JPEG quality of the streamed pictures; one that the camera encoded is passed on as it "
        "is, unless it is more than half as large again.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Additional host names that browsers may use for this device (Host header)."
    )
    frame_ancestors: tuple[str, ...] = Field(
        (), description="Origins whose pages may show this one in a frame: https://dashboard.example."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (),
        description="Addresses or networks of proxies in front of the page: their Forwarded or"
        " X-Forwarded-For, -Proto, -Host and -Prefix are believed, and never count as this device itself.",
    )
    base_path: str = Field(
        "", description="Path below which a proxy shows the page, such as /grader; empty: the entire host."
    )

    @field_validator("allowed_hosts")
    @classmethod
    def _bare_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?", name):
                raise ValueError(f"{name!r}: expected a host name without scheme and port: grader.example")
        return tuple(name.lower() for name in names)

    @field_validator("frame_ancestors")
    @classmethod
    def _bare_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin.lower()):
                raise ValueError(
                    f"{origin!r}: expected scheme, host name and port of a page: https://dashboard.example:8123"
                )
        return tuple(origin.lower() for origin in origins)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        for each in given:
            try:
                network = ipaddress.ip_network(each)
            except ValueError as error:
                raise ValueError(
                    f"{error}; expected an address or a network: 192.0.2.7 or 192.0.2.0/24"
                ) from None
            if network.prefixlen == 0:
                raise ValueError(f"{each!r}: every client could claim any address; name the proxies alone")
        return given

    @field_validator("base_path")
    @classmethod
    def _path(cls, given: str) -> str:
        if not re.fullmatch(r"(/(?!\.\.?(/|$))[A-Za-z0-9._~-]+)*/?", given):
            raise ValueError(f"{given!r}: expected a path such as /grader")
        return given.rstrip("/")


class AccessSettings(_Section):
    """Logins, TLS and limits of the page."""

    open_to_network: bool = Field(
        False,
        description="Let anyone on the network see the page, without TLS and login.",
    )
    certificate: str = Field(
        "",
        description="PEM file of your own certificate with its chain; empty: the device creates its own.",
    )
    key: str = Field("", description="PEM file of the key of access.certificate, without a passphrase.")
    loopback: Literal["auto", "operator", "login"] = Field(
        "auto",
        description="Clients on the device itself. operator: every local account is operator, without a"
        " login; login: as on the network; auto: login on an installed device, else operator.",
    )
    idle_minutes: float = Field(60.0, ge=1, le=10080, description="Minutes after which an unused login ends.")
    longest_days: float = Field(
        30.0, ge=0.01, le=365, description="Days after which every login ends, even if it is used."
    )
    requests_per_s: float = Field(
        50.0,
        ge=5,
        le=1000,
        description="Maximum requests per second from one address; more get the status 429.",
    )
    connections_per_address: int = Field(
        16,
        ge=8,
        le=256,
        description="Maximum connections from one address; a page in a browser uses up to 7.",
    )


class SessionSettings(_Section):
    """Consent: the notice and the button."""

    notice: str = Field("", description="File with your own notice; empty: the included notice.")
    longest_hours: float = Field(
        12.0,
        ge=0.1,
        le=24,
        description="Hours after which a session ends if no one ends it.",
    )
    button_pin: int = Field(
        -1,
        ge=-1,
        le=64,
        description="Pin of the button: a GPIO number, on a Jetson a header pin; -1: no button.",
    )
    button_factory: Literal[PinFactory, "jetson"] = Field(
        "default",
        description="gpiozero's pin factory for the button; jetson: Jetson.GPIO; mock: no hardware.",
    )
    button_people: int = Field(
        1, ge=1, le=32, description="Number of people who agree when the button starts a session."
    )
    printed_notice: str = Field(
        "",
        description="Version of the notice printed next to the button; if empty or not current, the button"
        " starts nothing.",
    )


class JurisdictionSettings(_Section):
    """Where the device is, its purpose and its user. The page asks once; analysis is off until then."""

    region: Literal["", Region] = Field("", description="Where the device is.")
    purpose: Literal["", Purpose] = Field(
        "", description="What the device is used for; hiring is refused in the EU (AI Act, Article 5(1)(f))."
    )
    institution: Literal["", Institution] = Field(
        "",
        description="Who uses the device: an employer (with employees or applicants), a school or university "
        "(with students or applicants), or neither. Needed in the EU, where the first two are refused.",
    )


LONGEST_DAYS = 30
"""No record is kept longer, whatever the settings are."""


class StorageSettings(_Section):
    """Records of sessions: numbers, never pictures."""

    keep_days: int = Field(
        KEEP_DAYS, ge=1, le=LONGEST_DAYS, description="Days after which a session is erased automatically."
    )
    min_free_mb: int = Field(
        200,
        ge=0,
        le=1_000_000,
        description="Free disk space below which recording stops, in MB (millions of bytes).",
    )


PLAIN_SECTIONS: dict[str, type[BaseModel]] = {
    "vision": VisionSettings,
    "web": WebSettings,
    "access": AccessSettings,
    "session": SessionSettings,
    "lawful": JurisdictionSettings,
    "storage": StorageSettings,
}
"""Sections without backends."""

AUTO_SETTINGS: dict[str, type[BaseModel]] = {"camera": AutoCamera, "engine": AutoEngine}
"""The settings of `auto`, for sections whose backend may be `auto`."""

BACKEND_SECTIONS = {"camera": "auto", "engine": "auto", "lamps": "none"}
"""Sections whose keys depend on their backend, and their default backend."""
