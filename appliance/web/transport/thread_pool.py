"""The threads that run views: few, started when needed, and never one for a client that keeps us waiting."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from time import monotonic
from typing import TypeVar

KEEP_S = 0.5
"""After which a thread without a job ends."""

T = TypeVar("T")

_Job = tuple[int, int, "Callable[[], None] | None"]

_log = logging.getLogger("appliance.web")


class ThreadPool:
    """Runs jobs in threads `<name>-1` to `<name>-<limit>`, which do not keep the process alive.

    Unlike `ThreadPoolExecutor`: a view that hangs at the stop is reported instead of awaited without end, and
    jobs of logged-in callers go first.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit, self._name = limit, name
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = count()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._waiting = 0  # threads without a job, less the jobs without a thread
        self._stopped = False

    def submit(self, job: Callable[[], T], *, first: bool = False) -> Future[T]:
        """The result of a job to come. `first`: before every job without it.

        Raises `RuntimeError` or `MemoryError` if there is no thread yet and none can be started.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                found = job()
            except BaseException as error:
                # Any exception: it belongs to the one that waits for the result.
                future.set_exception(error)
            else:
                future.set_result(found)

        with self._lock:
            if self._waiting <= 0 and len(self._threads) < self._limit:
                self._start_thread()
            self._waiting -= 1
            self._jobs.put((0 if first else 1, next(self._numbers), run))
        return future

    def stop(self, by: float) -> list[str]:
        """Let threads end after their jobs; the names of those that run at the monotonic second `by`."""
        with self._lock:
            threads = list(self._threads)
            if not self._stopped:
                self._stopped = True
                for _ in threads:
                    self._jobs.put((2, next(self._numbers), None))
        for thread in threads:
            thread.join(max(0.0, by - monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]

    def _start_thread(self) -> None:
        names = {thread.name for thread in self._threads}
        name = next(name for number in count(1) if (name := f"{self._name}-{number}") not in names)
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            _log.warning("no thread can be started now: %s", error)
            if not self._threads:
                raise
            return
        self._threads.append(thread)
        self._waiting += 1

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=KEEP_S)[2]
            except queue.Empty:
                with self._lock:
                    if self._jobs.empty():  # otherwise a job came meanwhile and counts on this thread
                        self._waiting -= 1
                        self._threads.remove(threading.current_thread())
                        return
                continue
            if job is None:
                return
            job()
            with self._lock:
                self._waiting += 1
