"""What `evaluate` found, as values that JSON, text and page show alike. The keys of the JSON are stable."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from appliance import __version__
from appliance.commands.evaluate.figures import Figures
from appliance.commands.evaluate.judging import Judged, Verdict
from appliance.commands.evaluate.matching import FaceFigures

SCHEMA = 1

MOST_MISTAKES = 24
"""Of more mistakes than this only the most confident ones are named."""


@dataclass(frozen=True)
class Origin:
    """What was judged, on what: the path given, the models in words, and the program's version."""

    source: str
    models: dict[str, str]
    version: str = __version__


@dataclass(frozen=True)
class Coverage:
    """How many pictures there were, and what became of them; `repeated` lines named one again."""

    given: int
    read: int
    not_read: dict[str, int]
    failed: int
    repeated: int


@dataclass(frozen=True)
class Mistake:
    """A picture that the model took for something else, and how sure it was."""

    picture: str
    label: str
    said: str
    score: float


@dataclass(frozen=True)
class ExpressionReport:
    """The judgement of a classifier; `mode`: crops or whole."""

    origin: Origin
    mode: str
    pictures: Coverage
    figures: Figures
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class FaceReport:
    """The judgement of a detector."""

    origin: Origin
    pictures: Coverage
    figures: FaceFigures


Report = ExpressionReport | FaceReport


def worst(judged: Judged) -> list[Verdict]:
    """The wrong verdicts with the highest scores, at most `MOST_MISTAKES`."""
    wrong = [each for each in judged.verdicts if each.scores.dominant != each.sample.label]
    return sorted(wrong, key=lambda each: -each.scores.top)[:MOST_MISTAKES]


def mistake(verdict: Verdict) -> Mistake:
    """A wrong verdict as it is reported."""
    return Mistake(verdict.sample.name, verdict.sample.label, verdict.scores.dominant, verdict.scores.top)


def as_json(report: Report) -> str:
    """One JSON object; documented in docs/own-model.md."""
    found = asdict(report)
    kind = "faces" if isinstance(report, FaceReport) else "expressions"
    whole = {"schema": SCHEMA, "kind": kind, **found.pop("origin"), **found.pop("figures"), **found}
    return json.dumps(_rounded(whole), indent=1) + "\n"


def _rounded(value: Any) -> Any:
    """The same with six digits after the point: more of them say nothing and hide what differs."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value
