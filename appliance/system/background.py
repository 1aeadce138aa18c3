"""A background thread for jobs that wait for the disk; runs them one by one, in order.

A slow card takes seconds for one sync. A thread that must not wait that long, above all the one that feeds
the watchdog, submits a job; a thread that needs the result waits only for its own job.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from appliance.errors import ApplianceError, StoreError

log = logging.getLogger("appliance.background")

T = TypeVar("T")


class BackgroundWriter:
    """Runs jobs in a thread that exists only while there are jobs. Safe between threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[tuple[str, Callable[[], object]]] = deque()
        self._running = False

    def submit(self, what: str, job: Callable[[], object]) -> None:
        """Run `job` after all earlier jobs; `what` names it in the log. Never waits, never raises."""
        with self._changed:
            self._jobs.append((what, job))
        self.start()

    def call(self, what: str, job: Callable[[], T]) -> T:
        """Run `job` after all earlier jobs and wait: returns its result, or raises its exception.

        Raises `StoreError` if no thread can be started; the job then never runs.
        """
        future: Future[T] = Future()
        self.submit(what, lambda: _run(future, job))
        if not self._running and future.cancel():
            raise StoreError(f"{what} cannot be written: no thread can be started; try again soon")
        return future.result()

    def start(self) -> None:
        """Start the thread if jobs wait and it does not run; logs an error if it cannot be started."""
        with self._changed:
            if self._running or not self._jobs:
                return
            self._running = True
            try:
                threading.Thread(target=self._work, name="writer", daemon=True).start()
            except (RuntimeError, MemoryError) as error:
                self._running = False
                log.error("%d entries are waiting to be written: %s", len(self._jobs), error)

    def flush(self, limit_s: float) -> list[str]:
        """Wait until all jobs have run, at most `limit_s` seconds; returns the names of those left."""
        self.start()
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs, max(0.0, limit_s))
            return [what for what, _job in self._jobs]

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    if not self._jobs:
                        self._running = False
                        return
                    what, job = self._jobs[0]
                self._run_one(what, job)
        except BaseException:
            # A bug ends this thread with a traceback; `start` continues with the next job.
            self._running = False
            raise

    def _run_one(self, what: str, job: Callable[[], object]) -> None:
        try:
            job()
        except (ApplianceError, OSError) as error:
            log.error("%s could not be written: %s", what, error)
        finally:
            with self._changed:
                self._jobs.popleft()
                self._changed.notify_all()


def _run(future: Future[T], job: Callable[[], T]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)
