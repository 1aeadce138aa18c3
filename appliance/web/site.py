"""What the routes may use: the parts of the appliance, handed to the web by the composition root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from flask import current_app

from appliance.audit import AuditLog
from appliance.auth.service import Gate
from appliance.consent.notice import Notice
from appliance.consent.preview import Aim
from appliance.consent.session import Session
from appliance.consent.terms import Terms
from appliance.handoff import Slot
from appliance.health import Health
from appliance.reading_json import SCHEMA, reading_json
from appliance.records import Store
from appliance.values import Picture, Reading
from appliance.viewers import Seen, Viewers
from appliance.web.metrics import Metrics
from appliance.web.pages.exports import Exports

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
    aim: Aim
    audit: AuditLog
    gate: Gate
    store: Store
    source: str
    engine: Callable[[], dict[str, str]]
    camera_lamp: bool
    open_to_network: bool
    on_network: bool
    """Whether other machines can reach the page."""
    allowed_hosts: tuple[str, ...]
    state_dir: Path
    """Where what the updater tells lies."""
    card: str = ""
    """The model card of the models in use, Markdown."""
    seen: Seen = field(default_factory=Seen)
    exports: Exports = field(default_factory=Exports)

    @property
    def terms(self) -> Terms:
        """Region, purpose, and what follows."""
        return self.session.terms

    @property
    def notice(self) -> Notice:
        """The notice in force."""
        return self.terms.notice

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
            "engine": self.engine(),
            "storage": {"state": self.store.status.state, "reason": self.store.status.reason},
            "board": {"strain": self.health.throttling or None},
            "viewers": self.viewers.count,
            "session": _session_json(self.session),
            "reading": self.reading(),
        }


def site() -> Site:
    """The site of the current request."""
    return cast(Site, current_app.extensions[KEY])


def _session_json(session: Session) -> dict[str, Any] | None:
    """What `/api/state` says of an agreement or an aiming, None while idle.

    `people` agreed (None where nobody living is seen), the `seat` as shares of the picture, and the seconds
    that are left for aiming.
    """
    now, left = session.now, session.aiming_s
    if not now.number:
        return None
    agreed = now.agreed
    seat = agreed.seat if agreed else None
    return {
        "people": agreed.people if agreed else None,
        "seat": [round(side, 4) for side in (seat.x, seat.y, seat.width, seat.height)] if seat else None,
        "aiming_s": None if left is None else round(left, 1),
    }
