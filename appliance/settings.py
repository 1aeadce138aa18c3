"""The settings of each section, with default, unit, limits and one line of help.

Those of a backend stand in the backend's own file.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AutoCamera(_Section):
    """Settings of `camera.backend = "auto"`: csi, then usb, then the demo clip."""

    width: int = Field(1280, ge=16, le=7680, description="Width to ask the camera for, in pixels.")
    height: int = Field(720, ge=16, le=4320, description="Height to ask the camera for, in pixels.")
    fps: float = Field(30.0, gt=0, le=240, description="Frames a second to ask the camera for.")


class Vision(_Section):
    """What is read and how."""

    models: str = Field("", description="Folder with manifest.toml and models; empty: the ones that ship.")
    detector: str = Field("", description="Name of the detector in the manifest; empty: its default.")
    classifier: str = Field("", description="Name of the classifier in the manifest; empty: its default.")
    threshold: float = Field(0.5, gt=0, lt=1, description="A face needs at least this detector score.")
    max_people: int = Field(8, ge=1, le=32, description="Of more faces than this the largest are read.")
    smoothing_s: float = Field(
        0.3, ge=0, le=5, description="Time constant of each person's smoothed scores, in s."
    )
    unsure_below: float = Field(0.5, ge=0, le=1, description="With a smaller top score the label is unsure.")
    expiry_s: float = Field(
        2.0, gt=0, le=30, description="A face unseen for longer loses its number, in seconds."
    )


class Web(_Section):
    """The page."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; other than loopback needs access.open_to_network."
    )
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    max_viewers: int = Field(
        8, ge=1, le=64, description="Pictures streamed at once; one more is answered 503."
    )
    jpeg_quality: int = Field(80, ge=10, le=100, description="JPEG quality of the pictures.")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Further names by which browsers may call this device (the Host header)."
    )


class Access(_Section):
    """Who may see the page."""

    open_to_network: bool = Field(
        False,
        description="Let everyone on the network see the page without login; needed for other addresses.",
    )


PLAIN: dict[str, type[BaseModel]] = {"vision": Vision, "web": Web, "access": Access}
"""Sections with one set of keys."""

CHOICES = {"camera": "auto", "engine": "tflite", "lamps": "none"}
"""Sections whose keys belong to the backend they name, and the default backend."""
