"""Reads one input of `analyze`: what it gives, in the order in which it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from appliance.commands.analyze import output, summary
from appliance.commands.analyze.diagnosis import Diagnosis
from appliance.commands.analyze.summary import Summary
from appliance.commands.reporting import Note, RunCounts
from appliance.composition.reader import Reader
from appliance.errors import PictureError
from appliance.media.inputs import STDIN, display_name, is_still, open_input, open_video
from appliance.media.stills import decoder_note, read_still
from appliance.reading_json import reading_json
from appliance.system.native import quiet_native_output
from appliance.values import Frame, Reading

if TYPE_CHECKING:
    from appliance.media.animation import Animation
    from appliance.media.video import Video


@dataclass(frozen=True)
class Options:
    """Options of `analyze`. `jsonl` and `csv` exclude each other; without either, output is text.

    `same_person`: all pictures show one person, so their lines can be written only when all are read.
    """

    crops: bool = False
    every: int = 1
    fps: float | None = None
    recursive: bool = False
    jsonl: bool = False
    csv: bool = False
    summary: bool = False
    same_person: bool = False


@dataclass(frozen=True)
class Line:
    """A line for the output."""

    text: str


@dataclass(frozen=True)
class PictureRead:
    """A picture of the same person as the others, without its pixels."""

    source: str
    reading: Reading


@dataclass(frozen=True)
class VideoOpened:
    """A video begins; `frames`: how many it has, 0 if unknown."""

    name: str
    frames: int


@dataclass(frozen=True)
class FrameDone:
    """A frame of the video was read or skipped."""


@dataclass(frozen=True)
class InputDone:
    """The end of an input, always the last event."""

    counts: RunCounts


Event: TypeAlias = Line | Note | PictureRead | VideoOpened | FrameDone | InputDone


def read_input(options: Options, reader: Reader, path: Path) -> Iterator[Event]:
    """Read a picture or a video. If it fails, a note has the reason, and the counts have one failure."""
    return _Input(options, reader, path).read()


def picture_lines(options: Options, source: str, reading: Reading) -> Iterator[Line]:
    """The lines of one picture."""
    if options.summary:
        people = Summary(source)
        people.add(reading)
        yield from _summary_lines(options, people)
    else:
        yield from _reading_lines(options, reading_json(reading, source))


class _Input:
    """One input."""

    def __init__(self, options: Options, reader: Reader, path: Path) -> None:
        self._options, self._pipeline, self._path = options, reader.pipeline, path
        self._name = display_name(path)
        self._source = "-" if path == STDIN else str(path)
        self._counts = RunCounts()
        self._people = Summary(self._source)

    def read(self) -> Iterator[Event]:
        """Every event."""
        fault: PictureError | None = None
        try:
            yield from self._read()
        except PictureError as error:
            fault = error
        if self._people.has_readings:  # also those before the fault
            yield from _summary_lines(self._options, self._people)
        if fault:
            self._counts.failed += 1
            yield Note(str(fault))
        yield InputDone(self._counts)

    def _read(self) -> Iterator[Event]:
        with open_input(self._path) as file:
            if is_still(file, self._name):
                yield from self._still(file)
            elif self._options.crops:
                raise PictureError(f"{self._name}: is a video; with --crops expected a picture of one face")
            else:
                yield from self._video(open_video(file, self._name, self._options.fps))

    def _still(self, file: BinaryIO) -> Iterator[Event]:
        with quiet_native_output() as heard:
            still = read_still(file, self._name)
        for note in (*still.notes, *map(decoder_note, heard[:1])):
            yield Note(f"{self._name}: {note}")
        self._counts.pictures += 1
        read = self._pipeline.read_crop if self._options.crops else self._pipeline.read_still
        reading = read(still.image)
        self._counts.add(reading)
        if self._options.same_person:
            yield PictureRead(self._source, replace(reading, frame=reading.frame.without_pixels()))
        else:
            yield from picture_lines(self._options, self._source, reading)

    def _video(self, video: Video | Animation) -> Iterator[Event]:
        diagnosis = Diagnosis()
        self._pipeline.reset()
        yield VideoOpened(self._name, video.frames)
        try:
            for number, shown in enumerate(video):
                frame = Frame(number, shown.time_s, shown.image, shown.time_s)
                if number % self._options.every:
                    self._pipeline.skip(frame)
                else:
                    reading = self._pipeline.read(frame)
                    diagnosis.add(reading)
                    yield from self._found(reading)
                yield FrameDone()
        finally:
            video.close()
            self._counts.lost += video.lost
        if line := diagnosis.describe():
            yield Note(f"{self._name}: {line}")
        if video.cut_short:
            raise PictureError(f"{self._name}: {video.defects}; expected a complete video, copy it again")
        if video.defects:
            yield Note(f"{self._name}: {video.defects}")
        self._counts.videos += 1

    def _found(self, reading: Reading) -> Iterator[Event]:
        self._counts.add(reading)
        if self._options.summary:
            self._people.add(reading)
        else:
            yield from _reading_lines(self._options, reading_json(reading, self._source))


def _reading_lines(options: Options, found: dict[str, Any]) -> Iterator[Line]:
    if options.csv:
        yield from map(Line, output.as_csv(found))
    else:
        yield Line(json.dumps(found) if options.jsonl else output.as_text(found))


def _summary_lines(options: Options, people: Summary) -> Iterator[Line]:
    for row in people.rows():
        if options.csv:
            yield Line(summary.as_csv(row))
        else:
            yield Line(json.dumps(row) if options.jsonl else summary.as_text(row))
