"""The session state: idle or live. It decides whether the camera may be open at all."""

from __future__ import annotations

import threading
import time

from appliance.errors import StateConflict


class Session:
    """Idle until people have agreed to the notice; a source that shows nobody living starts live.

    Every agreement has a number, 1 and rising; 0 means that nobody has agreed. Frames carry the number
    under which they were taken, so that none survives the end of its agreement anywhere on its way.
    """

    def __init__(self, notice_version: str, *, needs_agreement: bool) -> None:
        self.notice_version = notice_version
        self.needs_agreement = needs_agreement
        self._changed = threading.Condition()
        self._given = 0 if needs_agreement else 1
        self._current = self._given
        self._started = time.monotonic()

    @property
    def state(self) -> str:
        """`idle` or `live`."""
        return "live" if self._current else "idle"

    @property
    def agreement(self) -> int:
        """The number of the agreement in force, 0 while idle."""
        return self._current

    @property
    def live_s(self) -> float:
        """Seconds since the agreement in force, or the last one, began."""
        return time.monotonic() - self._started

    def start(self, notice_version: str) -> None:
        """People have read this version of the notice and agree; another version is a `StateConflict`."""
        if notice_version != self.notice_version:
            raise StateConflict(
                f"notice version {notice_version!r}: expected {self.notice_version!r}; "
                "reload the page and read the notice that is in force now"
            )
        with self._changed:
            if not self._current:
                self._given += 1
                self._current = self._given
                self._started = time.monotonic()
                self._changed.notify_all()

    def stop(self) -> None:
        """The agreement ends here; harmless when idle."""
        with self._changed:
            self._current = 0
            self._changed.notify_all()

    def wait_live(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for an agreement; says whether there is one."""
        with self._changed:
            return self._changed.wait_for(lambda: self._current > 0, timeout)
