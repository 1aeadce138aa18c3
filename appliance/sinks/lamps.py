"""Shows the state of the appliance, and the expression of the largest face, on the lamps."""

from __future__ import annotations

import logging
from collections.abc import Callable

from appliance.consent.session import Session
from appliance.errors import LampError
from appliance.hardware.fault_codes import condition, lamp_state
from appliance.health import Health
from appliance.ports import Lamps
from appliance.values import NOT_ANALYSED, Reading

log = logging.getLogger("appliance.lamps")


class LampSink:
    """Drives every lamp except the camera lamp, which belongs to `loops.CaptureLoop`."""

    def __init__(self, lamps: Lamps, session: Session, health: Health) -> None:
        self._lamps, self._session, self._health = lamps, session, health
        self._reported = ""

    def take(self, reading: Reading) -> None:
        """Show the expression of the largest face that is analysed."""
        analysed = [person for person in reading.people if person.label != NOT_ANALYSED]
        nearest = max(analysed, key=lambda person: person.face.box.area, default=None)
        self._show(nearest.label if nearest else None)

    def idle(self) -> None:
        """Show that there is no face."""
        self._show(None)

    def close(self) -> None:
        """Switch off all lamps except the camera lamp, which stays lit until the camera is closed."""
        self._try(self._lamps.dark)

    def _show(self, label: str | None) -> None:
        session = self._session
        state = lamp_state(condition(self._health, session.state, session.elapsed_s), label)
        self._try(lambda: self._lamps.show(state))

    def _try(self, action: Callable[[], None]) -> None:
        """Log a broken lamp once and continue: the page shows the same state."""
        try:
            action()
            self._reported = ""
        except LampError as error:
            if str(error) != self._reported:
                log.error("%s", error)
            self._reported = str(error)
