"""Which engine is best on this device: what `bench --engines` measured, kept in the state directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.system.files import write_private

FILE = "engines.json"


@dataclass(frozen=True)
class Measured:
    """One engine with the models it ran: milliseconds for one run of each model, median.

    `settings`: what it was given beside its defaults. `agrees`: whether it reads as the CPU does; `note`
    says by how much it differs, or why it could not be measured (then `ms` is None).
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
    """What was measured, on which machine, with which models: `models` is their digest.

    `there`: runtime and accelerators as they were then.
    """

    machine: str
    date: str
    models: str
    engines: tuple[Measured, ...]
    there: str = ""

    @property
    def best(self) -> Measured | None:
        """The fastest that agrees with the CPU."""
        fit = [each for each in self.engines if each.agrees and each.ms is not None]
        return min(fit, key=lambda each: each.ms or 0.0, default=None)

    def save(self, folder: Path) -> None:
        """Keep it; raises `StoreError`."""
        write_private(folder / FILE, (json.dumps(asdict(self), indent=1) + "\n").encode())


def load(folder: Path) -> Ranking | str:
    """The ranking that was kept, or why there is none."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Ranking(
            str(found["machine"]),
            str(found["date"]),
            str(found["models"]),
            tuple(_measured(each) for each in found["engines"]),
            str(found.get("there", "")),
        )
    except FileNotFoundError:
        return "nothing was measured yet"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{folder / FILE} cannot be read ({error})"


def _measured(entry: dict[str, object]) -> Measured:
    ms, settings = entry["ms"], entry["settings"]
    if not isinstance(settings, dict) or not isinstance(ms, (int, float, type(None))):
        raise TypeError("damaged")
    return Measured(
        str(entry["name"]),
        str(entry["backend"]),
        bool(entry["float_models"]),
        {str(key): str(value) for key, value in settings.items()},
        ms,
        bool(entry["agrees"]),
        str(entry["note"]),
    )


def digest_of(digests: Sequence[str]) -> str:
    """What stands for a set of models: the beginnings of their SHA-256."""
    return " ".join(digest[:12] for digest in digests)
