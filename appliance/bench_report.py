"""`bench --report`: the table that an owner can send in, as Markdown on standard output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance import __version__, board
from appliance.bench import bench
from appliance.bench_engines import engines_table, rank
from appliance.config import Config


def engines(config: Config, arguments: Sequence[str]) -> int:
    """Measure every engine, keep the ranking, and print it."""
    ranking = rank(config, arguments)
    for line in engines_table(ranking):
        print(line)
    print(f"\nengine.backend = auto takes {ranking.best.name if ranking.best else 'the CPU'}")
    return 0


def report(config: Config, *, seconds: int, arguments: Sequence[str], passed_on: Sequence[str]) -> int:
    """Everything about this machine that `docs/performance.md` has a place for."""
    before = board.temperature()
    for line in _machine():
        print(line)
    print()
    for line in engines_table(rank(config, arguments)):
        print(line)
    print()
    bench(config, seconds=seconds, arguments=passed_on)
    print(f"\nTemperature: {_degrees(before)} before, {_degrees(board.temperature())} after.")
    return 0


def _machine() -> Iterator[str]:
    yield f"## {board.name()}"
    yield ""
    yield f"- interview-grader {__version__}, {board.libraries()}"
    yield f"- {board.system()}"
    yield f"- {board.processor()}, {board.memory_mb()} MB of memory"


def _degrees(value: float | None) -> str:
    return "not told" if value is None else f"{value:.0f} °C"
