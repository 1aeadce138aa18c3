"""What the routes may use: the parts of the appliance, handed to the web by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from flask import current_app

from appliance.access.gate import Gate
from appliance.audit import AuditLog
from appliance.handoff import Slot
from appliance.health import Health
from appliance.metrics import Metrics
from appliance.notice import Notice
from appliance.session import Session
from appliance.values import Picture, Reading
from appliance.viewers import Viewers
from appliance.wire import SCHEMA, reading_json

KEY = "appliance.site"


@dataclass(frozen=True)
class Site:
    """Everything a route can reach."""

    health: Health
    session: Session
    viewers: Viewers
    listeners: Viewers
    readings: Slot[Reading]
    jpegs: Slot[Picture]
    metrics: Metrics
    notice: Notice
    audit: AuditLog
    gate: Gate
    source: str
    engine: dict[str, str]
    camera_lamp: bool
    open_to_network: bool
    allowed_hosts: tuple[str, ...]
    card: str = ""
    """The model card of the models in use, Markdown."""

    def reading(self) -> dict[str, Any] | None:
        """The newest reading as JSON, if it belongs to the agreement in force."""
        reading = self.readings.newest()
        if reading is None or reading.frame.agreement != self.session.agreement:
            return None
        return reading_json(reading, self.source)

    def state(self) -> dict[str, Any]:
        """The body of `/api/state`."""
        return {
            "schema": SCHEMA,
            "state": self.session.state,
            "notice": {"version": self.notice.version},
            "camera": self.health.camera_json(),
            "engine": self.engine,
            "viewers": self.viewers.count,
            "reading": self.reading(),
        }


def site() -> Site:
    """The site of the current request."""
    return cast(Site, current_app.extensions[KEY])
