"""`bench --report`: the table that an owner can send in, as Markdown on standard output."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence

from appliance import __version__
from appliance.commands.bench.daemon import bench
from appliance.commands.bench.engines import engines_table, rank, rank_and_keep
from appliance.composition.engine import load_models
from appliance.configuration.load import Config
from appliance.errors import ConfigError
from appliance.hardware import board
from appliance.inference.ranking import Ranking, load_ranking

_SERVICE = "interview-grader"


def engines(config: Config, arguments: Sequence[str]) -> int:
    """Measure every engine, keep the ranking, and print it."""
    if config.shut_in and _runs():
        raise ConfigError(
            "the service is at work, and an accelerator has one user at a time: sudo systemctl stop "
            f"{_SERVICE}, measure, and start it again",
            key="bench --engines",
        )
    ranking = rank_and_keep(config, arguments)
    for line in engines_table(ranking):
        print(line)
    print(f"\nengine.backend = auto takes {ranking.best.name if ranking.best else 'the CPU'}")
    return 0


def report(config: Config, *, seconds: int, arguments: Sequence[str], passed_on: Sequence[str]) -> int:
    """Everything about this machine that `docs/performance.md` has a place for; nothing is kept."""
    before = board.read_temperature()
    for line in _machine():
        print(line)
    print()
    for line in engines_table(_ranking(config, arguments)):
        print(line)
    print()
    bench(config, seconds=seconds, arguments=passed_on)
    print(f"\nTemperature: {_degrees(before)} before, {_degrees(board.read_temperature())} after.")
    return 0


def _ranking(config: Config, arguments: Sequence[str]) -> Ranking:
    """The one that was kept, if it is of these models: beside a service nobody else has the accelerator."""
    kept = load_ranking(config.state_dir)
    if isinstance(kept, str) or kept.models != load_models(config)[1].digest:
        return rank(config, arguments)
    return kept


def _runs() -> bool:
    command = ["systemctl", "--quiet", "is-active", _SERVICE]
    try:
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False  # a container has none


def _machine() -> Iterator[str]:
    yield f"## {board.board_name()}"
    yield ""
    yield f"- interview-grader {__version__}, {board.library_versions()}"
    yield f"- {board.system_name()}"
    yield f"- {board.processor_name()}, {board.total_memory_mb()} MB of memory"


def _degrees(value: float | None) -> str:
    return "not told" if value is None else f"{value:.0f} °C"
