"""Worker threads: one that repeats a bounded step, and a second one that shares the work of a step.

Both send heartbeats, so that a hang is found.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from appliance.errors import ApplianceError, SlotClosed
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


class Closable(Protocol):
    """Something that a worker owns."""

    def close(self) -> None:
        """Release it."""


Tools = TypeVar("Tools", bound=Closable)
Item = TypeVar("Item")
Result = TypeVar("Result")


class TwoWorkers(Generic[Tools]):
    """The calling thread and, when there is enough to do, a second thread with its own tools.

    Each takes the next item when it is free, so the results do not depend on who did what.
    """

    def __init__(
        self,
        name: str,
        tools: Tools,
        open_tools: Callable[[], Tools],
        *,
        from_people: int,
        limit_s: float,
        health: Health | None = None,
    ) -> None:
        """`tools`: the caller's; `open_tools` opens those of the second thread, which is called `name`.

        `from_people`: how many people it starts with; `limit_s`: maximum duration of its share of a step.
        """
        self._name, self._tools, self._open_tools = name, tools, open_tools
        self._from_people, self._limit_s, self._health = from_people, limit_s, health
        self._second: _SecondWorker[Tools] | None = None

    def prepare(self, people: int) -> None:
        """Start the second thread for enough people, without waiting for it; stop it for 0."""
        if people == 0:
            self.close()
        elif people >= self._from_people and self._second is None:
            self._second = _SecondWorker(self._name, self._open_tools, self._limit_s, self._health)

    def map(self, work: Callable[[Tools, Item], Result], items: Sequence[Item]) -> list[Result]:
        """The result of `work` for each item, in their order. Raises what `work` raises."""
        if len(items) < 2 or self._second is None or not self._second.ready.is_set():
            return [work(self._tools, item) for item in items]
        shared = _SharedWork(work, items)
        self._second.inbox.put(shared)
        shared.run(self._tools)
        return shared.results()

    def close(self) -> None:
        """Stop the second thread, which closes its tools. May be called twice."""
        if self._second is not None:
            self._second.stop()
            self._second = None


class _SecondWorker(Generic[Tools]):
    """The second thread of `TwoWorkers`."""

    _STOP_S = 1.0

    def __init__(
        self, name: str, open_tools: Callable[[], Tools], limit_s: float, health: Health | None
    ) -> None:
        self.inbox: SimpleQueue[_SharedWork[Tools] | None] = SimpleQueue()
        self.ready = threading.Event()
        self._name, self._open_tools, self._limit_s, self._health = name, open_tools, limit_s, health
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end after its share, and wait briefly: the health check reports one that hangs."""
        self.inbox.put(None)
        self._thread.join(self._STOP_S)

    def _run(self) -> None:
        try:
            tools = self._open_tools()
        except (ApplianceError, OSError, MemoryError) as error:
            with suppress(MemoryError):
                log.warning("%s cannot start, one worker continues alone: %s", self._name, error)
            return
        self.ready.set()
        try:
            while (shared := self.inbox.get()) is not None:
                self._heartbeat()
                shared.run(tools)
                del shared  # it holds a frame
                self._forget()
        finally:
            self._forget()
            tools.close()

    def _heartbeat(self) -> None:
        if self._health:
            self._health.heartbeat(self._name, self._limit_s, "its share of a frame")

    def _forget(self) -> None:
        if self._health:
            self._health.remove_worker(self._name)


class _SharedWork(Generic[Tools]):
    """Items that several threads work on, and the results so far."""

    def __init__(self, work: Callable[[Tools, Any], Any], items: Sequence[Any]) -> None:
        self._work, self._items = work, items
        self._results: list[Any] = [None] * len(items)
        self._lock, self._done = threading.Lock(), threading.Event()
        self._next, self._left = 0, len(items)
        self._error: BaseException | None = None

    def run(self, tools: Tools) -> None:
        """Work on one item after the other, until none is left. Raises nothing."""
        while (index := self._take()) is not None:
            try:
                self._results[index] = self._work(tools, self._items[index])
            except BaseException as error:  # raised again by `results`, in the thread of the worker
                self._error = error
            with self._lock:
                self._left -= 1
                if not self._left:
                    self._done.set()

    def results(self) -> list[Any]:
        """All results, once every item is done; raises the last error."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._results

    def _take(self) -> int | None:
        with self._lock:
            if self._next == len(self._items):
                return None
            self._next += 1
            return self._next - 1
