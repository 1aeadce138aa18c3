"""`bench --engines` and `bench --report`: tables on standard output, in Markdown."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence

from appliance import __version__
from appliance.commands.bench.cost import print_cost
from appliance.commands.bench.engines import engines_table, rank, rank_and_save
from appliance.composition.engine import load_models
from appliance.configuration.load import Config
from appliance.errors import ConfigError
from appliance.hardware import board
from appliance.inference.ranking import Ranking, load_ranking

_SERVICE = "interview-grader"


def print_ranking(config: Config, arguments: Sequence[str]) -> int:
    """Measure every engine, keep the ranking, and print it."""
    if config.sandboxed and _service_runs():
        raise ConfigError(
            "the service is running, and an accelerator has only one user at a time; run sudo systemctl stop "
            f"{_SERVICE}, measure, and start it again",
            key="bench --engines",
        )
    ranking = rank_and_save(config, arguments)
    for line in engines_table(ranking):
        print(line)
    print(f"\nengine.backend = auto selects {ranking.best.name if ranking.best else 'the CPU'}")
    return 0


def print_report(config: Config, *, seconds: int, arguments: Sequence[str], passed_on: Sequence[str]) -> int:
    """Print everything about this machine that `docs/performance.md` lists; save nothing."""
    before = board.read_temperature()
    for line in _machine():
        print(line)
    print()
    for line in engines_table(_ranking(config, arguments)):
        print(line)
    print()
    print_cost(config, seconds=seconds, arguments=passed_on)
    print(f"\nTemperature: {_degrees(before)} before, {_degrees(board.read_temperature())} after.")
    return 0


def _ranking(config: Config, arguments: Sequence[str]) -> Ranking:
    """The saved ranking if it is of these models, since a service may use the accelerator; else a new one."""
    kept = load_ranking(config.state_dir)
    if isinstance(kept, str) or kept.models != load_models(config)[1].digest:
        return rank(config, arguments)
    return kept


def _service_runs() -> bool:
    command = ["systemctl", "--quiet", "is-active", _SERVICE]
    try:
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False  # a container has no systemctl


def _machine() -> Iterator[str]:
    yield f"## {board.board_name()}"
    yield ""
    yield f"- interview-grader {__version__}, {board.library_versions()}"
    yield f"- {board.system_name()}"
    yield f"- {board.processor_name()}, {board.total_memory_mb()} MB of memory"


def _degrees(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f} °C"
