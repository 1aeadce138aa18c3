"""The command `evaluate`: reads a data set, runs the models on it, and writes the reports."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.commands.evaluate.datasets import read_annotated, read_labelled
from appliance.commands.evaluate.html import Shown, as_page, face_thumbnail
from appliance.commands.evaluate.metrics import expression_metrics, face_metrics
from appliance.commands.evaluate.report import (
    Coverage,
    ExpressionReport,
    FaceReport,
    Origin,
    Report,
    as_json,
    as_mistake,
    as_text,
    worst_mistakes,
)
from appliance.commands.evaluate.run import classify_pictures, detect_faces
from appliance.commands.jobs import choose_jobs
from appliance.commands.reporting import RunCounts
from appliance.composition.reader import Reader, make_reader
from appliance.configuration.load import Config
from appliance.errors import ConfigError, ConfigErrors

STDOUT = Path("-")


@dataclass(frozen=True)
class EvaluateOptions:
    """Options of `evaluate`. If `json` is `STDOUT`, there is no text. `jobs`: see `choose_jobs`."""

    path: Path
    faces: bool = False
    whole: bool = False
    json: Path | None = None
    html: Path | None = None
    pictures: bool = True
    jobs: int | None = None


def evaluate(config: Config, options: EvaluateOptions, *, progress: bool) -> RunCounts:
    """Evaluate the models in use; pictures that cannot be opened are reported on standard error.

    Raises `ConfigError` before any work if the data set or the path of a report is invalid.
    """
    _check(options)
    judged = _evaluate_faces if options.faces else _evaluate_expressions
    counts = RunCounts()
    report, shown = judged(config, options, progress, counts)
    if options.json == STDOUT:
        sys.stdout.write(as_json(report))
    else:
        sys.stdout.write(as_text(report))
    if options.json and options.json != STDOUT:
        _write(options.json, as_json(report))
    if options.html:
        _write(options.html, as_page(report, shown))
    return counts


def _evaluate_expressions(
    config: Config, options: EvaluateOptions, progress: bool, counts: RunCounts
) -> tuple[Report, list[Shown]]:
    labelled = read_labelled(options.path)
    counts.skipped += labelled.skipped
    reader = make_reader(config)
    jobs = choose_jobs(options.jobs, config, reader)
    judged = classify_pictures(
        labelled.samples, reader, jobs, whole=options.whole, progress=progress, counts=counts
    )
    wrong = worst_mistakes(judged)
    read = len(judged.predictions)
    report = ExpressionReport(
        origin=_origin(options, reader, ("detector", "classifier") if options.whole else ("classifier",)),
        mode="whole" if options.whole else "crops",
        pictures=Coverage(len(labelled.samples), read, judged.not_read, judged.failed, labelled.repeated),
        figures=expression_metrics(judged.truth, judged.scores, config.vision.unsure_below),
        mistakes=tuple(as_mistake(each) for each in wrong),
    )
    needs_pictures = options.html and options.pictures
    shown = [Shown(as_mistake(each), face_thumbnail(each) if needs_pictures else None) for each in wrong]
    return report, shown


def _evaluate_faces(
    config: Config, options: EvaluateOptions, progress: bool, counts: RunCounts
) -> tuple[Report, list[Shown]]:
    marks = read_annotated(options.path)
    reader = make_reader(config)
    jobs = choose_jobs(options.jobs, config, reader)
    examined, failed = detect_faces(marks.scenes, reader, jobs, progress=progress, counts=counts)
    report = FaceReport(
        origin=_origin(options, reader, ("detector",)),
        pictures=Coverage(len(marks.scenes), len(examined), {}, failed, marks.repeated),
        figures=face_metrics(examined),
    )
    return report, []


def _origin(options: EvaluateOptions, reader: Reader, roles: tuple[str, ...]) -> Origin:
    described = reader.described()
    return Origin(str(options.path), {role: described[role] for role in roles})


def _check(options: EvaluateOptions) -> None:
    """Check the options first, so that hours of work are not lost to a misspelt folder."""
    problems = []
    if options.faces and options.whole:
        problems.append(ConfigError("--whole and --faces exclude each other; use one of them"))
    if options.html == STDOUT:
        problems.append(ConfigError("--html -: only --json can write to standard output; name a file"))
    for option, place in (("--json", options.json), ("--html", options.html)):
        if place is None or place == STDOUT:
            continue
        if place.is_dir() or not place.parent.is_dir():
            what = "is a folder" if place.is_dir() else "its folder is missing"
            problems.append(ConfigError(f"{option} {place}: {what}; expected a file in an existing folder"))
        elif not os.access(place if place.exists() else place.parent, os.W_OK):
            problems.append(ConfigError(f"{option} {place}: no permission to write; choose another path"))
    if options.json and options.html and options.json.absolute() == options.html.absolute():
        problems.append(ConfigError(f"--json and --html are both {options.json}; name different files"))
    if problems:
        raise ConfigErrors(problems)


def _write(place: Path, content: str) -> None:
    # It names people's pictures and may show them, so only its owner may read it by default.
    with open(place, "w", encoding="utf-8", errors="backslashreplace", opener=_private) as file:
        file.write(content)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
