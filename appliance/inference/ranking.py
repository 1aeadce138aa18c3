"""The engines of this device as measured by `bench --engines`, saved in the state directory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.system.files import write_private

RANKING_FILE = "engines.json"


@dataclass(frozen=True)
class EngineMeasurement:
    """One engine with the models it ran. `ms`: median time for one run of each model; None if it failed.

    `settings`: those that differ from its defaults. `agrees`: whether it has parity with the CPU. `note`: the
    difference from the CPU, or why there is no measurement.
    """

    name: str
    backend: str
    float_models: bool
    settings: dict[str, str]
    ms: float | None
    agrees: bool
    note: str


@dataclass(frozen=True)
class Ranking:
    """All measurements of a machine. `models`: the digest of the models (`ModelSet.digest`).

    `there`: the inventory of runtimes and accelerators at that time. The fields are the keys of the file.
    """

    machine: str
    date: str
    models: str
    engines: tuple[EngineMeasurement, ...]
    there: str = ""

    @property
    def best(self) -> EngineMeasurement | None:
        """The fastest with parity."""
        fit = [each for each in self.engines if each.agrees and each.ms is not None]
        return min(fit, key=lambda each: each.ms or 0.0, default=None)

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
        )
    except FileNotFoundError:
        return "no engine has been measured yet"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{folder / RANKING_FILE} cannot be read ({error})"


def _parse_measurement(entry: dict[str, object]) -> EngineMeasurement:
    ms, settings = entry["ms"], entry["settings"]
    if not isinstance(settings, dict) or not isinstance(ms, (int, float, type(None))):
        raise TypeError("damaged")
    return EngineMeasurement(
        str(entry["name"]),
        str(entry["backend"]),
        bool(entry["float_models"]),
        {str(key): str(value) for key, value in settings.items()},
        ms,
        bool(entry["agrees"]),
        str(entry["note"]),
    )
