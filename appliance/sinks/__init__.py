"""What is done with readings. A sink gets these shared parts and its own settings, nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.consent.session import Session
from appliance.handoff import Slot
from appliance.health import Health
from appliance.values import Picture
from appliance.viewers import Viewers


@dataclass(frozen=True)
class Shared:
    """The parts that any sink may use."""

    health: Health
    session: Session
    viewers: Viewers
    jpegs: Slot[Picture]
