"""Inputs that several processes read: their order, what ends it, and what it leaves."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload
from unittest import mock

import pytest

from appliance.commands.jobs import Jobs, choose_jobs, read_in_order
from appliance.composition.reader import Reader, make_reader
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import Config, load_config
from appliance.errors import EngineError, WorkerDied
from tests.fakes.reading import Item, name, read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load_config(ConfigOptions(data_dir=tmp_path_factory.mktemp("state")), {})


@pytest.fixture
def reader(config: Config) -> Iterator[Reader]:
    made = make_reader(config)
    yield made
    made.pipeline.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def events(
    reader: Reader, config: Config, items: Sequence[Item], number: int = 2
) -> Generator[Any, None, None]:
    return read_in_order(read, items, reader, Jobs(number, config), name)


@pytest.fixture(autouse=True)
def no_process_survives() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def test_two_inputs_are_read_at_once_and_come_out_in_order(
    reader: Reader, config: Config, fifo: Path
) -> None:
    items = [("wait", fifo, 1), ("say", 2), ("say",), ("say", 3, 4), ("release", fifo, 5), ("say", 6)]
    assert list(events(reader, config, items)) == [1, 2, 3, 4, 5, 6]


def test_what_waits_for_its_turn_may_be_large(reader: Reader, config: Config, fifo: Path) -> None:
    large = [f"{number} {'x' * 1000}" for number in range(1000)]
    items = [("wait", fifo, "first"), ("release", fifo, *large), ("say", "last")]
    assert list(events(reader, config, items)) == ["first", *large, "last"]


class Watched(Sequence[Item]):
    """Items, and the number of the last one that was fetched."""

    def __init__(self, items: list[Item]) -> None:
        self._items, self.last = items, -1

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Item]: ...
    def __getitem__(self, number: Any) -> Any:
        self.last = max(self.last, number)
        return self._items[number]


def test_only_a_window_of_inputs_is_read_ahead(reader: Reader, config: Config, fifo: Path) -> None:
    ahead = 255
    items = Watched([("wait", fifo, 0), *[("say", n) for n in range(1, ahead)], ("release", fifo, ahead)])
    items._items += [("say", n) for n in range(ahead + 1, 1000)]
    found = events(reader, config, items)
    assert next(found) == 0 and items.last == ahead
    assert list(found) == list(range(1, 1000))


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_comes_after_what_was_read_before_it(reader: Reader, config: Config, number: int) -> None:
    items = [("say", 1), ("say", 2), ("fail", 3), ("say", 4), ("say", 5)]
    source = events(reader, config, items, number)
    assert [next(source) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(EngineError, match="the engine failed"):
        next(source)


@pytest.mark.parametrize(
    ("item", "how"), [(("die", signal.SIGKILL), r"die: .*\(signal SIGKILL\)"), (("exit", 3), r"exit code 3")]
)
def test_a_process_that_dies_ends_it(
    reader: Reader, config: Config, fifo: Path, item: Item, how: str
) -> None:
    items = [("wait", fifo, 1), item, ("say", 2)]  # the first one is never released
    with pytest.raises(WorkerDied, match=how):
        list(events(reader, config, items))


def test_an_iterator_that_is_closed_leaves_no_process(reader: Reader, config: Config, fifo: Path) -> None:
    items = [("say", 1), ("wait", fifo, 2), ("say", 3)]
    found = events(reader, config, items)
    assert next(found) == 1
    found.close()


@pytest.mark.parametrize(("items", "number"), [([("process",)], 8), ([("process",)] * 3, 1)])
def test_one_input_or_one_job_is_read_in_this_process(
    reader: Reader, config: Config, items: list[Item], number: int
) -> None:
    assert set(events(reader, config, items, number)) == {os.getpid()}


def test_the_number_of_jobs(config: Config, reader: Reader) -> None:
    cores = len(os.sched_getaffinity(0))
    assert choose_jobs(None, config, reader) == Jobs(cores, config)
    assert choose_jobs(3, config, reader) == Jobs(3, config)
    accelerated = replace(reader, breaker=mock.sentinel.breaker)
    assert choose_jobs(None, config, accelerated) == Jobs(1, config), "an accelerator belongs to one process"
    assert choose_jobs(3, config, accelerated) == Jobs(3, config)
