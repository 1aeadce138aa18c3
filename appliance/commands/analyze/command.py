"""The command `analyze`: reads each input, writes its readings, counts what became of all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from tqdm import tqdm

from appliance.commands.analyze import output, summary
from appliance.commands.analyze.summary import Summary
from appliance.commands.analyze.unread import Unread
from appliance.composition.reader import Reader
from appliance.errors import PictureError
from appliance.media.animation import Animation
from appliance.media.film import Film, FilmFrame
from appliance.media.inputs import STDIN, list_inputs, name_of, open_film, opened
from appliance.media.stills import complaint, is_animation, picture_format, read_head, read_still
from appliance.media.tally import Tally
from appliance.reading_json import reading_json
from appliance.system.native import quiet_native_output
from appliance.system.terminal import escape_controls
from appliance.values import Frame, Reading


@dataclass(frozen=True)
class Options:
    """How `analyze` was asked to work. `jsonl` and `csv` exclude each other; neither: words."""

    crops: bool = False
    every: int = 1
    fps: float | None = None
    recursive: bool = False
    jsonl: bool = False
    csv: bool = False
    summary: bool = False


def analyze(paths: Sequence[Path], reader: Reader, options: Options, out: TextIO, progress: bool) -> Tally:
    """Read every input and write its readings to `out`; each that fails is named on standard error."""
    return _Run(reader, options, out, progress).read(paths)


class _Run:
    """One run of the command."""

    def __init__(self, reader: Reader, options: Options, out: TextIO, progress: bool) -> None:
        self._pipeline = reader.pipeline
        self._options = options
        self._out = out
        self._progress = progress
        self._tally = Tally()

    def read(self, paths: Sequence[Path]) -> Tally:
        """Every input."""
        listing = list_inputs(paths, recursive=self._options.recursive)
        self._tally.skipped += listing.skipped
        if self._options.csv:
            self._write(output.csv_line(summary.COLUMNS if self._options.summary else output.COLUMNS))
        with tqdm(total=len(listing.files), unit="file", disable=not self._progress, leave=False) as bar:
            for fault in listing.failed:
                self._fail(fault)
            for path in listing.files:
                try:
                    self._read_input(path)
                except PictureError as error:
                    self._fail(error)
                bar.update()
        return self._tally

    def _read_input(self, path: Path) -> None:
        source = "-" if path == STDIN else str(path)
        people = Summary(source)
        try:
            for reading in self._readings(path):
                self._tally.count(reading)
                if self._options.summary:
                    people.add(reading)
                else:
                    self._write_reading(reading_json(reading, source))
        finally:  # also what came before a fault
            if people.has_readings:
                self._write_summary(people)

    def _readings(self, path: Path) -> Iterator[Reading]:
        name = name_of(path)
        with opened(path) as file:
            if picture_format(read_head(file)) is not None and not is_animation(file, name):
                yield self._still(file, name)
            elif self._options.crops:
                raise PictureError(
                    f"{name}: is a video, and --crops takes one face a file; expected a picture"
                )
            else:
                yield from self._film(open_film(file, name, self._options.fps), name)

    def _still(self, file: BinaryIO, name: str) -> Reading:
        with quiet_native_output() as heard:
            still = read_still(file, name)
        for note in (*still.notes, *map(complaint, heard[:1])):
            _say(f"{name}: {note}")
        self._tally.pictures += 1
        read = self._pipeline.read_crop if self._options.crops else self._pipeline.read_still
        return read(still.image)

    def _film(self, film: Film | Animation, name: str) -> Iterator[Reading]:
        unread = Unread()
        self._pipeline.reset()
        try:
            for number, shown in enumerate(self._with_progress(film, name)):
                frame = Frame(number, shown.time_s, shown.image, shown.time_s)
                if number % self._options.every:
                    self._pipeline.pass_over(frame)
                    continue
                reading = self._pipeline.read(frame)
                unread.add(reading)
                yield reading
        finally:
            film.close()
            self._tally.lost += film.lost
        if line := unread.line():
            _say(f"{name}: {line}")
        if film.cut_short:
            raise PictureError(f"{name}: {film.remarks}; expected a whole video, copy it again")
        if film.remarks:
            _say(f"{name}: {film.remarks}")
        self._tally.films += 1

    def _with_progress(self, film: Film | Animation, name: str) -> Iterator[FilmFrame]:
        with tqdm(
            total=film.frames or None,
            desc=escape_controls(Path(name).name),
            unit="frame",
            position=1,
            disable=not self._progress,
            leave=False,
        ) as bar:
            for frame in film:
                yield frame
                bar.update()

    def _write_reading(self, found: dict[str, Any]) -> None:
        if self._options.csv:
            for row in output.as_rows(found):
                self._write(row)
        else:
            self._write(json.dumps(found) if self._options.jsonl else output.in_words(found))

    def _write_summary(self, people: Summary) -> None:
        for row in people.rows():
            if self._options.csv:
                self._write(summary.as_row(row))
            else:
                self._write(json.dumps(row) if self._options.jsonl else summary.in_words(row))

    def _write(self, line: str) -> None:
        tqdm.write(line, file=self._out)

    def _fail(self, error: PictureError) -> None:
        self._tally.failed += 1
        _say(str(error))


def _say(text: str) -> None:
    tqdm.write(f"interview-grader: {escape_controls(text)}", file=sys.stderr)
