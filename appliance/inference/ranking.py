"""The engines of this device as measured by `bench --engines`, saved in the state directory."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from appliance.system.files import write_private

RANKING_FILE = "engines.json"

CPU = "tflite"
"""The engine that runs everywhere, and the fallback of every accelerator."""

MIN_GAIN = 0.1
"""An engine replaces the reference only if it saves at least this share of its time: less may be chance, and
the limits in docs/quality.md were measured with the reference."""


@dataclass(frozen=True)
class Candidate:
    """An engine that may be available, its kind of models, and its settings on top of the configuration."""

    name: str
    backend: str
    float_models: bool
    settings: dict[str, str] = field(default_factory=dict)


CANDIDATES = (
    Candidate("cpu-int8", CPU, False),
    Candidate("cpu-float", CPU, True),
    Candidate("coral", "coral", False),
    Candidate("tensorrt-fp16", "tensorrt", True, {"precision": "fp16"}),
    Candidate("tensorrt-int8", "tensorrt", True, {"precision": "int8"}),
)
"""The first is the reference, which runs everywhere."""

_BY_NAME = {each.name: each for each in CANDIDATES}


@dataclass(frozen=True)
class EngineMeasurement:
    """One engine as measured. `ms`: median time for one run of each model; None if it failed.

    `agrees`: whether it has parity with the CPU. `note`: the difference from the CPU, or why there is no
    measurement.
    """

    name: str
    ms: float | None
    agrees: bool
    note: str = ""

    @property
    def candidate(self) -> Candidate:
        """The engine that was measured."""
        return _BY_NAME[self.name]


@dataclass(frozen=True)
class Ranking:
    """All measurements of a machine. `models`: the digest of the models (`ModelSet.digest`).

    `processor`: the processor's features (`board.processor_key`). `there`: the inventory of runtimes and
    accelerators at that time, the CPU's runtime first. The fields are the keys of the file.
    """

    machine: str
    date: str
    models: str
    engines: tuple[EngineMeasurement, ...]
    there: str = ""
    processor: str = ""

    @property
    def best(self) -> EngineMeasurement | None:
        """The fastest with parity; the reference, if it is nearly as fast."""
        fit = {each.name: each for each in self.engines if each.agrees and each.ms is not None}
        fastest = min(fit.values(), key=lambda each: each.ms or 0.0, default=None)
        reference = fit.get(CANDIDATES[0].name)
        if fastest and reference and (fastest.ms or 0.0) > (1 - MIN_GAIN) * (reference.ms or 0.0):
            return reference
        return fastest

    def summary(self) -> str:
        """The times and the choice, in one line."""
        times = [f"{each.name} {each.ms:.1f} ms" for each in self.engines if each.ms is not None]
        return f"engines: {', '.join(times)}; auto selects {self.best.name if self.best else 'the CPU'}"

    def save(self, folder: Path) -> None:
        """Write it to a state directory; raises `StoreError`."""
        write_private(folder / RANKING_FILE, (json.dumps(asdict(self), indent=1) + "\n").encode())


def load_ranking(folder: Path) -> Ranking | str:
    """The ranking in a state directory, or why there is none."""
    try:
        found = json.loads((folder / RANKING_FILE).read_text(encoding="utf-8"))
        return Ranking(
            str(found["machine"]),
            str(found["date"]),
            str(found["models"]),
            tuple(_parse_measurement(each) for each in found["engines"]),
            str(found.get("there", "")),
            str(found.get("processor", "")),
        )
    except FileNotFoundError:
        return "no engine has been measured yet"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{folder / RANKING_FILE} cannot be read ({error})"


def _parse_measurement(entry: dict[str, object]) -> EngineMeasurement:
    name, ms, agrees = entry["name"], entry["ms"], entry["agrees"]
    if name not in _BY_NAME:
        raise ValueError(f"unknown engine {name!r}")
    is_time = isinstance(ms, (int, float)) and not isinstance(ms, bool) and math.isfinite(ms) and ms > 0
    if not (ms is None or is_time) or not isinstance(agrees, bool):
        raise ValueError(f"{name} has the time {ms!r} and agrees {agrees!r}")
    return EngineMeasurement(str(name), ms if is_time else None, agrees, str(entry["note"]))  # type: ignore[arg-type]
