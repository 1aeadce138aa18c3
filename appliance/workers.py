"""A worker thread: repeats a bounded step, sends a heartbeat before each, and reports how it ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from appliance.errors import SlotClosed
from appliance.health import Health

log = logging.getLogger("appliance.workers")


class Worker:
    """Runs `step` until stopped or until its slot is closed. Any other exception stops the daemon."""

    def __init__(
        self,
        name: str,
        step: Callable[[], None],
        *,
        limit_s: float,
        health: Health,
        failed: Callable[[str], None],
        finish: Callable[[], None] | None = None,
    ) -> None:
        """A worker that is not started yet.

        `limit_s`: maximum duration of a step; `failed`: called with the reason if it dies; `finish`: always
        called last.
        """
        self.name = name
        self._step, self._limit_s, self._finish = step, limit_s, finish
        self._health, self._failed = health, failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; the first heartbeat is sent before it runs."""
        self._health.heartbeat(self.name, self._limit_s)
        self._thread.start()

    def stop(self) -> None:
        """Ask the worker to end after the running step."""
        self._stop.set()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end; False if the thread is still running."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            try:
                while not self._stop.is_set():
                    self._health.heartbeat(self.name, self._limit_s)
                    self._step()
            except SlotClosed:
                log.debug("%s: its slot was closed", self.name)
            finally:
                if self._finish is not None:
                    self._finish()
        except Exception as error:
            # Any exception: a dead worker ends the process, with a reason.
            try:
                log.exception("%s died", self.name)
            finally:  # logging fails too if memory runs out
                self._failed(f"{self.name} died: {type(error).__name__}: {error}")
        finally:
            self._health.remove_worker(self.name)
