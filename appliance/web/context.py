"""What the views may use: the parts of the appliance, given to the web by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from flask import current_app

from appliance.audit import AuditLog
from appliance.auth.service import AuthService
from appliance.consent.preview import BlurredPreview
from appliance.consent.session import Session
from appliance.handoff import Slot
from appliance.health import Health
from appliance.media.ingest import Ingest
from appliance.reading_json import reading_json
from appliance.records import Store
from appliance.values import Picture, PictureVariant, Reading
from appliance.viewers import FirstViews, Viewers
from appliance.web.export_limiter import ExportLimiter
from appliance.web.framing import frame_picture, frame_picture_message, frame_reading
from appliance.web.hourly_audit import HourlyAudit
from appliance.web.metrics import Metrics
from appliance.web.proxies import TrustedProxies
from appliance.web.transport.broadcast import Broadcast
from appliance.webcams.service import WebcamService
from appliance.webcams.stills import StillReader

KEY = "appliance"
"""Under this key of `Flask.extensions` an application keeps its context."""


@dataclass(frozen=True)
class LiveFeed:
    """The newest picture and reading, and the number of viewers of each."""

    pictures: Slot[Picture]
    readings: Slot[Reading]
    viewers: Viewers
    """Of the picture."""
    listeners: Viewers
    """Of the readings."""


@dataclass(frozen=True)
class Device:
    """Facts about the device that do not change while it runs, and which engines it uses now."""

    source: str
    """The camera backend."""
    engines: Callable[[], dict[str, str]]
    """Role -> model and engine, in words."""
    has_camera_lamp: bool
    state_dir: Path
    model_card: str = ""
    """The model card of the models in use, Markdown."""


@dataclass(frozen=True)
class Network:
    """How the page can be reached."""

    reachable: bool
    """Whether other machines can reach it."""
    open: bool = False
    """Whether they need no login, see `access.open_to_network`."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names of the device, see `web.allowed_hosts`."""
    frame_ancestors: tuple[str, ...] = ()
    """Origins of other pages that may frame this one, see `web.frame_ancestors`."""


@dataclass(frozen=True)
class AppContext:
    """The core parts that the views use, and what the web adds to them."""

    session: Session
    health: Health
    store: Store
    audit: AuditLog
    auth: AuthService
    preview: BlurredPreview
    live: LiveFeed
    device: Device
    network: Network
    metrics: Metrics
    webcams: WebcamService
    stills: StillReader
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    exports: ExportLimiter = field(default_factory=ExportLimiter)
    seen: FirstViews = field(default_factory=FirstViews)
    ingest: Ingest | None = None
    """Where the browser that is the camera sends its pictures; None if the camera is another."""

    @cached_property
    def hourly_audit(self) -> HourlyAudit:
        """Writes frequent lines of the audit log."""
        return HourlyAudit(self.audit)

    @cached_property
    def picture_broadcast(self) -> Broadcast[Picture]:
        """Sends pictures to streams, by variant; for the event loop only."""

        return self._broadcast_pictures(frame_picture)

    @cached_property
    def message_broadcast(self) -> Broadcast[Picture]:
        """Sends pictures with their readings to WebSockets, by variant; for the event loop only."""
        return self._broadcast_pictures(
            lambda picture, variant: frame_picture_message(picture, variant, self.device.source)
        )

    def _broadcast_pictures(self, make: Callable[[Picture, PictureVariant], bytes]) -> Broadcast[Picture]:
        def frame(picture: Picture, variant: Hashable) -> bytes | None:
            if not (isinstance(variant, PictureVariant) and variant in picture.jpegs):
                return None
            return make(picture, variant)

        return Broadcast(self.live.pictures, frame, lambda picture: self._is_in_force(picture.consent_epoch))

    @cached_property
    def reading_broadcast(self) -> Broadcast[Reading]:
        """Sends readings to WebSockets; for the event loop only."""

        def frame(reading: Reading, kind: Hashable) -> bytes:
            return frame_reading(reading_json(reading, self.device.source))

        return Broadcast(
            self.live.readings, frame, lambda reading: self._is_in_force(reading.frame.consent_epoch)
        )

    def newest_reading(self) -> dict[str, Any] | None:
        """The newest reading as JSON, None unless it belongs to the consent in force."""
        reading = self.live.readings.newest()
        if reading is None or reading.frame.consent_epoch != self.session.consent_epoch:
            return None
        return reading_json(reading, self.device.source)

    def _is_in_force(self, consent_epoch: int) -> bool:
        return consent_epoch == self.session.consent_epoch


def context() -> AppContext:
    """The context of the current request."""
    return cast(AppContext, current_app.extensions[KEY])
