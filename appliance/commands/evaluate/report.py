"""The report as values, as JSON and as text. The keys of the JSON are stable (docs/own-model.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from appliance import __version__
from appliance.commands.evaluate.metrics import (
    Estimate,
    ExpressionMetrics,
    FaceMetrics,
    Proportion,
    ThresholdPoint,
    WidthRange,
)
from appliance.commands.evaluate.run import ExpressionPredictions, Prediction
from appliance.values import EMOTIONS, shown_name

# --- values and JSON ---

SCHEMA = 1

MOST_MISTAKES = 24
"""Maximum number of mistakes listed, the most confident first."""


@dataclass(frozen=True)
class Origin:
    """What was evaluated: the path given, the models in words, and the program's version."""

    source: str
    models: dict[str, str]
    version: str = __version__


@dataclass(frozen=True)
class Coverage:
    """How many pictures were given, read and not read; `repeated`: lines that repeat a picture."""

    given: int
    read: int
    not_read: dict[str, int]
    failed: int
    repeated: int


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction (`said`) and its score."""

    picture: str
    label: str
    said: str
    score: float


@dataclass(frozen=True)
class ExpressionReport:
    """The report on a classifier; `mode`: crops or whole."""

    origin: Origin
    mode: str
    pictures: Coverage
    figures: ExpressionMetrics
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class FaceReport:
    """The report on a detector."""

    origin: Origin
    pictures: Coverage
    figures: FaceMetrics


Report = ExpressionReport | FaceReport


def worst_mistakes(judged: ExpressionPredictions) -> list[Prediction]:
    """The wrong predictions with the highest scores, at most `MOST_MISTAKES`."""
    wrong = [each for each in judged.predictions if each.scores.dominant != each.sample.label]
    return sorted(wrong, key=lambda each: -each.scores.top)[:MOST_MISTAKES]


def as_mistake(prediction: Prediction) -> Mistake:
    """A wrong prediction as reported."""
    return Mistake(
        prediction.sample.name, prediction.sample.label, prediction.scores.dominant, prediction.scores.top
    )


def as_json(report: Report) -> str:
    """The report as one JSON object, documented in docs/own-model.md."""
    found = asdict(report)
    kind = "faces" if isinstance(report, FaceReport) else "expressions"
    whole = {"schema": SCHEMA, "kind": kind, **found.pop("origin"), **found.pop("figures"), **found}
    return json.dumps(_rounded(whole), indent=1) + "\n"


def _rounded(value: Any) -> Any:
    """The value with floats rounded to six decimals: more are not significant and hide differences."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value


# --- text ---

MODES = {
    "crops": "expressions in pictures of one cropped face",
    "whole": "expressions of the largest face found in each picture",
}

SAME_PEOPLE = (
    "The intervals treat every picture as independent. Pictures of the same person are similar, so the true"
    " intervals are wider."
)

_MOST_LINES = 20


def as_text(report: Report) -> str:
    """The report as lines of text, ended by a line break."""
    lines = _faces(report) if isinstance(report, FaceReport) else _expressions(report)
    return "\n".join(lines) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def spread(figure: Proportion | Estimate, digits: int = 3) -> str:
    """A metric with its interval."""
    if figure.value is None:
        return "-"
    return f"{figure.value:.{digits}f} ({number(figure.low, digits)} to {number(figure.high, digits)})"


def width_name(each: WidthRange) -> str:
    """A range of face widths, in percent of the picture's."""
    if each.high is None:
        return f"{100 * each.low:.0f} % and more"
    if each.low == 0:
        return f"under {100 * each.high:.0f} %"
    return f"{100 * each.low:.0f} to {100 * each.high:.0f} %"


def coverage_words(pictures: Coverage) -> str:
    """How many pictures were given, read and not read, in words."""
    words = [f"{pictures.given} given", f"{pictures.read} read"]
    if pictures.not_read:
        reasons = ", ".join(f"{count} {reason}" for reason, count in pictures.not_read.items())
        words.append(f"{sum(pictures.not_read.values())} without a readable face ({reasons})")
    words.append(f"{pictures.failed} could not be opened")
    if pictures.repeated:
        words.append(f"{pictures.repeated} listed again, counted once")
    return ", ".join(words)


def _head(report: Report, title: str) -> Iterator[str]:
    yield f"{title}: {report.origin.source}"
    for role, model in report.origin.models.items():
        yield f"{role:<11} {model}"
    yield f"{'pictures':<11} {coverage_words(report.pictures)}"


def _expressions(report: ExpressionReport) -> Iterator[str]:
    figures = report.figures
    yield from _head(report, MODES[report.mode])
    hits = f"{figures.accuracy.hits} of {figures.accuracy.of}"
    yield f"{'accuracy':<11} {spread(figures.accuracy)}, {hits}"
    yield f"{'macro-F1':<11} {spread(figures.macro_f1)}, over {figures.macro_classes} classes with pictures"
    yield f"{'calibration':<11} expected error {number(figures.calibration_error)}"
    yield ""
    yield "In brackets: 95 % intervals, Wilson for shares, bootstrap for F1."
    yield SAME_PEOPLE
    yield ""
    yield f"{'class':<11} pictures  {'recall':<20}  {'precision':<20}  F1"
    for each in figures.classes:
        columns = f"{spread(each.recall, 2):<20}  {spread(each.precision, 2):<20}  {spread(each.f1, 2)}"
        yield f"{shown_name(each.name):<11} {each.pictures:>8}  {columns}"
    yield ""
    yield from _confusion(figures)
    yield ""
    yield from _calibration(figures)
    yield ""
    yield from _coverage(figures)
    if report.mistakes:
        yield ""
        yield "most confident mistakes"
        for wrong in report.mistakes:
            said, label = shown_name(wrong.said), shown_name(wrong.label)
            yield f"  {wrong.score:.2f} {said:<10} labelled {label:<10} {wrong.picture}"


def _confusion(figures: ExpressionMetrics) -> Iterator[str]:
    yield "confusion: rows are labels, columns are predictions"
    yield " " * 11 + "".join(f"{shown_name(name)[:9]:>10}" for name in EMOTIONS)
    for name, row in zip(EMOTIONS, figures.confusion, strict=True):
        yield f"{shown_name(name):<11}" + "".join(f"{count:>10}" for count in row)


def _calibration(figures: ExpressionMetrics) -> Iterator[str]:
    yield "calibration: share of correct predictions by top score"
    yield "score         pictures  mean score  correct"
    for each in figures.calibration:
        if each.accuracy.of:
            place = f"{each.low:.1f} to {each.high:.1f}"
            yield f"{place:<12}  {each.accuracy.of:>8}  {number(each.score):>10}  {spread(each.accuracy, 2)}"


def _coverage(figures: ExpressionMetrics) -> Iterator[str]:
    yield "coverage: share that a threshold on the top score keeps, and how much of it is correct"
    yield "threshold    kept  correct"
    for each in _with_unsure(figures):
        mark = "  <- vision.unsure_below" if each is figures.at_unsure else ""
        yield f"{each.threshold:>9.2f}  {number(each.kept.value, 2):>6}  {spread(each.accuracy, 2)}{mark}"


def _with_unsure(figures: ExpressionMetrics) -> Sequence[ThresholdPoint]:
    others = [step for step in figures.coverage if step.threshold != figures.at_unsure.threshold]
    return sorted([*others, figures.at_unsure], key=lambda step: step.threshold)


def _faces(report: FaceReport) -> Iterator[str]:
    figures = report.figures
    yield from _head(report, "faces in annotated pictures")
    recall = figures.recall
    yield f"{'recall':<11} {spread(recall)}, {recall.hits} of {recall.of} annotated faces"
    yield (
        f"{'false boxes':<11} {number(figures.false_per_picture)} per picture: {figures.false_boxes} of"
        f" {figures.found_boxes} boxes, in {figures.pictures_with_false_boxes} pictures"
    )
    yield ""
    yield f"Rule: {figures.rule}."
    yield f"In brackets: 95 % Wilson intervals. {SAME_PEOPLE}"
    yield ""
    yield "face width / picture width    faces  recall"
    for each in figures.widths:
        yield f"{width_name(each):<28}  {each.recall.of:>5}  {spread(each.recall, 2)}"
    if len(figures.kinds) > 1:
        yield ""
        yield "kind                          faces  recall"
        for kind, found in figures.kinds.items():
            yield f"{kind[:28]:<28}  {found.of:>5}  {spread(found, 2)}"
    if figures.misses:
        yield ""
        yield "missed faces, widest first: share of the picture's width; x, y, width, height in pixels"
        for miss in figures.misses[:_MOST_LINES]:
            box = " ".join(f"{side:.0f}" for side in miss.box)
            yield f"  {100 * miss.share:>5.1f} %  {box:<20}  {miss.kind:<8}  {miss.picture}"
        if len(figures.misses) > _MOST_LINES:
            yield f"  and {len(figures.misses) - _MOST_LINES} more; --json lists all"
