"""Reads independent inputs in several processes, and returns what they give in the order of the inputs."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar, cast

from appliance.composition.reader import Reader, make_reader
from appliance.configuration.load import Config
from appliance.errors import ApplianceError, WorkerDied
from appliance.system.logging import make_handlers

Item = TypeVar("Item")
Event = TypeVar("Event")

_WINDOW = 256
"""How many inputs are given out at most from the first unfinished one on."""

_IN_MEMORY_BYTES = 64 << 10
"""What an input may keep in memory until its turn; more is in a temporary file without a name."""


@dataclass(frozen=True)
class Jobs:
    """How many processes read; each makes its own reader from `config`, with one thread for a model."""

    number: int
    config: Config


def choose_jobs(wanted: int | None, config: Config, reader: Reader) -> Jobs:
    """`wanted` processes, or one for each core that this process may use.

    An accelerator belongs to one process, so without `wanted` there is only one.
    """
    if wanted is None:
        wanted = 1 if reader.breaker else len(os.sched_getaffinity(0))
    return Jobs(wanted, config)


def read_in_order(
    read: Callable[[Reader, Item], Iterator[Event]],
    items: Sequence[Item],
    reader: Reader,
    jobs: Jobs | None,
    name: Callable[[Item], str],
) -> Generator[Event, None, None]:
    """What `read(reader, item)` yields for each item in turn. Close the iterator if you leave it early.

    None, one job or one item: this process reads, with `reader`. Otherwise `reader` is closed, because an
    accelerator belongs to one process. `read` and what it yields must be picklable. What it raises is raised
    here after what it yielded. Raises `WorkerDied`, with the `name` of the item, if a process dies.
    """
    if jobs is None or min(jobs.number, len(items)) < 2:
        for item in items:
            yield from read(reader, item)
        return
    reader.pipeline.close()
    with _started(min(jobs.number, len(items)), read, _with_one_thread(jobs.config)) as workers:
        yield from _Run(workers, items, name).events()


# --- the processes that read ---


@dataclass(frozen=True)
class _End:
    """An item was read, or failed with an error."""

    error: ApplianceError | OSError | None = None


def _work(
    connection: Connection, read: Callable[[Reader, Any], Iterator[Any]], config: Config, folder: str
) -> None:
    """Read each item that arrives, until the connection is closed."""
    os.chdir(folder)
    logging.basicConfig(level=logging.WARNING, handlers=make_handlers(os.environ))  # as the command line does
    reader: Reader | None = None
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            item = connection.recv()
            end = _End()
            try:
                reader = reader or make_reader(config)
                for event in read(reader, item):
                    connection.send(event)
            except ConnectionError:
                raise
            except (ApplianceError, OSError) as error:
                end = _End(error)
            connection.send(end)


def _with_one_thread(config: Config) -> Config:
    settings = config.engine.settings
    if "threads" not in type(settings).model_fields:
        return config
    return replace(config, engine=replace(config.engine, settings=settings.model_copy(update={"threads": 1})))


class _Worker:
    """A process that reads, and the connection to it."""

    def __init__(self, read: Callable[[Reader, Any], Iterator[Any]], config: Config, folder: str) -> None:
        context = get_context("spawn")  # a fork would copy locks that other threads hold
        self.connection, theirs = context.Pipe()
        with theirs:
            self._process = context.Process(target=_work, args=(theirs, read, config, folder), daemon=True)
            self._process.start()

    def stop(self, *, at_once: bool) -> None:
        """End the process; `at_once`: even while it reads."""
        self.connection.close()
        if at_once:
            self._process.terminate()
        self._process.join()
        self._process.close()

    def how_it_died(self) -> str:
        """The signal or exit code of a process that has closed its connection."""
        self._process.join()
        code = cast(int, self._process.exitcode)
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


@contextlib.contextmanager
def _started(
    number: int, read: Callable[[Reader, Any], Iterator[Any]], config: Config
) -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    finished = False
    try:
        with _safe_start() as folder:
            for _ in range(number):
                workers.append(_Worker(read, config, folder))
        yield workers
        finished = True
    finally:
        for worker in workers:
            worker.stop(at_once=not finished)


@contextlib.contextmanager
def _safe_start() -> Iterator[str]:
    """While processes start; yields the current folder.

    A new Python looks for modules in its current folder first, which may hold a stranger's files. And it must
    not answer Ctrl-C, which the terminal sends to all: this process ends the others.
    """
    folder, here = os.getcwd(), os.open(".", os.O_PATH)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        os.chdir("/")
        resource_tracker.ensure_running()  # its start unblocks SIGINT
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a new process inherits it
        yield folder
    finally:
        os.fchdir(here)
        os.close(here)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


# --- this process ---


class _Run(Generic[Item]):
    """Gives out the items, and puts what arrives in order."""

    def __init__(self, workers: list[_Worker], items: Sequence[Item], name: Callable[[Item], str]) -> None:
        self._items, self._name = items, name
        self._idle = list(workers)
        self._busy: dict[Connection, tuple[_Worker, int]] = {}
        self._given = 0
        self._ended: dict[int, ApplianceError | OSError | None] = {}
        self._held: dict[int, tempfile.SpooledTemporaryFile[bytes]] = {}

    def events(self) -> Iterator[Any]:
        """Everything, in order."""
        try:
            for turn in range(len(self._items)):
                yield from self._events_of(turn)
                if (error := self._ended.pop(turn)) is not None:
                    raise error
        finally:
            for file in self._held.values():
                file.close()

    def _events_of(self, turn: int) -> Iterator[Any]:
        self._give_out(turn + _WINDOW)
        yield from self._take_held(turn)
        while turn not in self._ended:
            for number, event in self._receive():
                if number == turn:
                    yield event
                else:
                    self._hold(number, event)
            self._give_out(turn + _WINDOW)

    def _give_out(self, end: int) -> None:
        """Give each idle process an item before `end`."""
        while self._idle and self._given < min(end, len(self._items)):
            worker = self._idle.pop()
            self._busy[worker.connection] = worker, self._given
            with contextlib.suppress(ConnectionError):  # it died: receiving notices
                worker.connection.send(self._items[self._given])
            self._given += 1

    def _receive(self) -> Iterator[tuple[int, Any]]:
        """Wait for events; at most one from each process, with the number of its item."""
        for connection in cast(list[Connection], wait(list(self._busy))):
            worker, number = self._busy[connection]
            try:
                event = connection.recv()
            except (EOFError, OSError) as error:
                raise WorkerDied(
                    f"{self._name(self._items[number])}: the process that read it died"
                    f" ({worker.how_it_died()}); read it alone, and the rest with a smaller --jobs if memory"
                    " was short"
                ) from error
            if isinstance(event, _End):
                self._ended[number] = event.error
                self._idle.append(self._busy.pop(connection)[0])
            else:
                yield number, event

    def _hold(self, number: int, event: Any) -> None:
        if number not in self._held:
            self._held[number] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 (closed later)
        pickle.dump(event, self._held[number])

    def _take_held(self, number: int) -> Iterator[Any]:
        if (file := self._held.pop(number, None)) is None:
            return
        with file:
            end = file.tell()
            file.seek(0)
            while file.tell() < end:
                yield pickle.load(file)
