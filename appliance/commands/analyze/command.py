"""The command `analyze`: reads each input, writes its readings, and counts the results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from tqdm import tqdm

from appliance.commands.analyze import output, summary
from appliance.commands.analyze.diagnosis import Diagnosis
from appliance.commands.analyze.summary import Summary
from appliance.commands.reporting import RunCounts, print_note
from appliance.composition.reader import Reader
from appliance.errors import PictureError
from appliance.media.inputs import STDIN, display_name, is_still, list_inputs, open_input, open_video
from appliance.media.stills import decoder_note, read_still
from appliance.reading_json import reading_json
from appliance.system.native import quiet_native_output
from appliance.system.terminal import escape_controls
from appliance.values import Frame, Reading

if TYPE_CHECKING:
    from appliance.media.animation import Animation
    from appliance.media.video import Video, VideoFrame


@dataclass(frozen=True)
class Options:
    """Options of `analyze`. `jsonl` and `csv` exclude each other; without either, output is text."""

    crops: bool = False
    every: int = 1
    fps: float | None = None
    recursive: bool = False
    jsonl: bool = False
    csv: bool = False
    summary: bool = False


def analyze(
    paths: Sequence[Path], reader: Reader, options: Options, out: TextIO, progress: bool
) -> RunCounts:
    """Read every input and write its readings to `out`; failed inputs are reported on standard error."""
    return _Run(reader, options, out, progress).read(paths)


class _Run:
    """One run of the command."""

    def __init__(self, reader: Reader, options: Options, out: TextIO, progress: bool) -> None:
        self._pipeline = reader.pipeline
        self._options = options
        self._out = out
        self._progress = progress
        self._counts = RunCounts()

    def read(self, paths: Sequence[Path]) -> RunCounts:
        """Read all inputs."""
        listing = list_inputs(paths, recursive=self._options.recursive)
        self._counts.skipped += listing.skipped
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
        return self._counts

    def _read_input(self, path: Path) -> None:
        source = "-" if path == STDIN else str(path)
        people = Summary(source)
        try:
            for reading in self._readings(path):
                self._counts.add(reading)
                if self._options.summary:
                    people.add(reading)
                else:
                    self._write_reading(reading_json(reading, source))
        finally:  # include the readings before a fault
            if people.has_readings:
                self._write_summary(people)

    def _readings(self, path: Path) -> Iterator[Reading]:
        name = display_name(path)
        with open_input(path) as file:
            if is_still(file, name):
                yield self._still(file, name)
            elif self._options.crops:
                raise PictureError(f"{name}: is a video; with --crops expected a picture of one face")
            else:
                yield from self._video(open_video(file, name, self._options.fps), name)

    def _still(self, file: BinaryIO, name: str) -> Reading:
        with quiet_native_output() as heard:
            still = read_still(file, name)
        for note in (*still.notes, *map(decoder_note, heard[:1])):
            print_note(f"{name}: {note}")
        self._counts.pictures += 1
        read = self._pipeline.read_crop if self._options.crops else self._pipeline.read_still
        return read(still.image)

    def _video(self, video: Video | Animation, name: str) -> Iterator[Reading]:
        diagnosis = Diagnosis()
        self._pipeline.reset()
        try:
            for number, shown in enumerate(self._with_progress(video, name)):
                frame = Frame(number, shown.time_s, shown.image, shown.time_s)
                if number % self._options.every:
                    self._pipeline.skip(frame)
                    continue
                reading = self._pipeline.read(frame)
                diagnosis.add(reading)
                yield reading
        finally:
            video.close()
            self._counts.lost += video.lost
        if line := diagnosis.describe():
            print_note(f"{name}: {line}")
        if video.cut_short:
            raise PictureError(f"{name}: {video.defects}; expected a complete video, copy it again")
        if video.defects:
            print_note(f"{name}: {video.defects}")
        self._counts.videos += 1

    def _with_progress(self, video: Video | Animation, name: str) -> Iterator[VideoFrame]:
        with tqdm(
            total=video.frames or None,
            desc=escape_controls(Path(name).name),
            unit="frame",
            position=1,
            disable=not self._progress,
            leave=False,
        ) as bar:
            for frame in video:
                yield frame
                bar.update()

    def _write_reading(self, found: dict[str, Any]) -> None:
        if self._options.csv:
            for row in output.as_csv(found):
                self._write(row)
        else:
            self._write(json.dumps(found) if self._options.jsonl else output.as_text(found))

    def _write_summary(self, people: Summary) -> None:
        for row in people.rows():
            if self._options.csv:
                self._write(summary.as_csv(row))
            else:
                self._write(json.dumps(row) if self._options.jsonl else summary.as_text(row))

    def _write(self, line: str) -> None:
        tqdm.write(line, file=self._out)

    def _fail(self, error: PictureError) -> None:
        self._counts.failed += 1
        print_note(str(error))
