"""The command `evaluate`: reads a data set, runs the models over it, and writes the reports."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.commands.evaluate.boxes import read_marked
from appliance.commands.evaluate.datasets import read_labelled
from appliance.commands.evaluate.figures import figures
from appliance.commands.evaluate.judging import examine, judge
from appliance.commands.evaluate.matching import face_figures
from appliance.commands.evaluate.page import Shown, as_page
from appliance.commands.evaluate.report import (
    Coverage,
    ExpressionReport,
    FaceReport,
    Origin,
    Report,
    as_json,
    mistake,
    worst,
)
from appliance.commands.evaluate.text import as_text
from appliance.commands.evaluate.thumbnails import thumbnail
from appliance.composition.reader import Reader, make_reader
from appliance.configuration.load import Config
from appliance.errors import ConfigError, ConfigErrors
from appliance.media.tally import Tally

STDOUT = Path("-")


@dataclass(frozen=True)
class Wanted:
    """How `evaluate` was asked to work. `json` may be `STDOUT`: then the text is left out."""

    path: Path
    faces: bool = False
    whole: bool = False
    json: Path | None = None
    html: Path | None = None
    pictures: bool = True


def evaluate(config: Config, wanted: Wanted, *, progress: bool) -> Tally:
    """Judge the models in use; pictures that cannot be opened are named on standard error.

    Raises `ConfigError` before any work when the data set or a place for a report is not as it must be.
    """
    _check(wanted)
    judged = _judge_faces if wanted.faces else _judge_expressions
    tally = Tally()
    report, shown = judged(config, wanted, progress, tally)
    if wanted.json == STDOUT:
        sys.stdout.write(as_json(report))
    else:
        sys.stdout.write(as_text(report))
    if wanted.json and wanted.json != STDOUT:
        _write(wanted.json, as_json(report))
    if wanted.html:
        _write(wanted.html, as_page(report, shown))
    return tally


def _judge_expressions(
    config: Config, wanted: Wanted, progress: bool, tally: Tally
) -> tuple[Report, list[Shown]]:
    labelled = read_labelled(wanted.path)
    tally.skipped += labelled.skipped
    reader = make_reader(config)
    judged = judge(labelled.samples, reader, whole=wanted.whole, progress=progress, tally=tally)
    wrong = worst(judged)
    read = len(judged.verdicts)
    report = ExpressionReport(
        origin=_origin(wanted, reader, ("detector", "classifier") if wanted.whole else ("classifier",)),
        mode="whole" if wanted.whole else "crops",
        pictures=Coverage(len(labelled.samples), read, judged.not_read, judged.failed, labelled.repeated),
        figures=figures(judged.truth, judged.scores, config.vision.unsure_below),
        mistakes=tuple(mistake(each) for each in wrong),
    )
    needs_pictures = wanted.html and wanted.pictures
    shown = [Shown(mistake(each), thumbnail(each) if needs_pictures else None) for each in wrong]
    return report, shown


def _judge_faces(config: Config, wanted: Wanted, progress: bool, tally: Tally) -> tuple[Report, list[Shown]]:
    marks = read_marked(wanted.path)
    reader = make_reader(config)
    examined, failed = examine(marks.scenes, reader, progress=progress, tally=tally)
    report = FaceReport(
        origin=_origin(wanted, reader, ("detector",)),
        pictures=Coverage(len(marks.scenes), len(examined), {}, failed, marks.repeated),
        figures=face_figures(examined),
    )
    return report, []


def _origin(wanted: Wanted, reader: Reader, roles: tuple[str, ...]) -> Origin:
    described = reader.described()
    return Origin(str(wanted.path), {role: described[role] for role in roles})


def _check(wanted: Wanted) -> None:
    """Hours of work must not end in a misspelt folder."""
    problems = []
    if wanted.faces and wanted.whole:
        problems.append(ConfigError("--whole is for expressions; leave it or --faces out"))
    if wanted.html == STDOUT:
        problems.append(ConfigError("--html -: only --json goes to standard output; name a file"))
    for option, place in (("--json", wanted.json), ("--html", wanted.html)):
        if place is None or place == STDOUT:
            continue
        if place.is_dir() or not place.parent.is_dir():
            what = "is a folder" if place.is_dir() else "its folder is not there"
            problems.append(ConfigError(f"{option} {place}: {what}; expected a file in a folder that exists"))
        elif not os.access(place if place.exists() else place.parent, os.W_OK):
            problems.append(ConfigError(f"{option} {place}: may not be written; take another place"))
    if wanted.json and wanted.html and wanted.json.absolute() == wanted.html.absolute():
        problems.append(ConfigError(f"--json and --html are both {wanted.json}; name two files"))
    if problems:
        raise ConfigErrors(problems)


def _write(place: Path, content: str) -> None:
    # It names people's pictures and may show them: nobody else's to read, unless its owner decides so.
    with open(place, "w", encoding="utf-8", errors="backslashreplace", opener=_private) as file:
        file.write(content)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
