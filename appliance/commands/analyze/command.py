"""The command `analyze`: reads each input, writes its readings, and counts the results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from appliance.commands.analyze import output, summary
from appliance.commands.analyze.reading import (
    Event,
    FrameDone,
    InputDone,
    Line,
    Options,
    PictureRead,
    VideoOpened,
    picture_lines,
    read_input,
)
from appliance.commands.jobs import Jobs, read_in_order
from appliance.commands.reporting import Note, RunCounts, print_note
from appliance.composition.reader import Reader
from appliance.media.inputs import display_name, list_inputs
from appliance.system.terminal import escape_controls

_OF_THIS_PROCESS = ("/dev/stdin", "/dev/fd", "/proc")
"""Paths that mean something else in another process."""


def analyze(
    paths: Sequence[Path],
    reader: Reader,
    options: Options,
    out: TextIO,
    progress: bool,
    jobs: Jobs | None = None,
) -> RunCounts:
    """Read every input and write its readings to `out`; failed inputs are reported on standard error.

    `jobs`: see `read_in_order`. Standard input and open files of this process are read in this process, and
    with them everything else.
    """
    return _Run(reader, options, out, progress).read(paths, None if _needs_this_process(paths) else jobs)


def _needs_this_process(paths: Sequence[Path]) -> bool:
    return any(path.is_relative_to(place) for path in paths for place in _OF_THIS_PROCESS)


class _Run:
    """One run of the command."""

    def __init__(self, reader: Reader, options: Options, out: TextIO, progress: bool) -> None:
        self._reader = reader
        self._options = options
        self._out = out
        self._progress = progress
        self._counts = RunCounts()
        self._pictures: list[PictureRead] = []

    def read(self, paths: Sequence[Path], jobs: Jobs | None) -> RunCounts:
        """Read all inputs."""
        listing = list_inputs(paths, recursive=self._options.recursive)
        self._counts.skipped += listing.skipped
        if self._options.csv:
            self._write(output.csv_line(summary.COLUMNS if self._options.summary else output.COLUMNS))
        for fault in listing.failed:
            self._counts.failed += 1
            print_note(str(fault))
        read = partial(read_input, self._options)
        events = read_in_order(read, listing.files, self._reader, jobs, display_name)
        with closing(events), closing(_Progress(len(listing.files), self._progress)) as shown:
            for event in events:
                self._take(event)
                shown.take(event)
        self._write_pictures()
        return self._counts

    def _write_pictures(self) -> None:
        """Write the pictures of one person, after all of them are read."""
        readings = self._reader.pipeline.as_one_person([each.reading for each in self._pictures])
        for picture, reading in zip(self._pictures, readings, strict=True):
            for line in picture_lines(self._options, picture.source, reading):
                self._write(line.text)

    def _take(self, event: Event) -> None:
        if isinstance(event, Line):
            self._write(event.text)
        elif isinstance(event, PictureRead):
            self._pictures.append(event)
        elif isinstance(event, Note):
            print_note(event.text)
        elif isinstance(event, InputDone):
            self._counts.merge(event.counts)

    def _write(self, line: str) -> None:
        tqdm.write(line, file=self._out)


class _Progress:
    """A bar for the files, and below it one for the video whose readings are being written."""

    def __init__(self, files: int, shown: bool) -> None:
        self._shown = shown
        self._files = tqdm(total=files, unit="file", disable=not shown, leave=False)
        self._video: tqdm | None = None

    def take(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, VideoOpened):
            self._video = tqdm(
                total=event.frames or None,
                desc=escape_controls(Path(event.name).name),
                unit="frame",
                position=1,
                disable=not self._shown,
                leave=False,
            )
        elif isinstance(event, FrameDone) and self._video is not None:
            self._video.update()
        elif isinstance(event, InputDone):
            self._end_video()
            self._files.update()

    def close(self) -> None:
        """Remove the bars."""
        self._end_video()
        self._files.close()

    def _end_video(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None
