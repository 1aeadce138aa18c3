"""`analyze`: files in, readings out. Pictures are read alone; only a video is a sequence."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from appliance.build import Reader
from appliance.environment import hushed
from appliance.errors import PictureError
from appliance.media.film import Film
from appliance.pictures import is_picture, list_pictures, read_picture
from appliance.values import Frame, Reading
from appliance.wire import reading_json


@dataclass(frozen=True)
class Options:
    """How `analyze` was asked to work."""

    crops: bool = False
    every: int = 1
    jsonl: bool = False


def analyze(paths: Sequence[Path], reader: Reader, options: Options, out: TextIO, progress: bool) -> int:
    """Read every input, write its readings to `out`; returns how many failed, each named on stderr."""
    failed = 0
    inputs, broken = _expand(paths)
    with tqdm(total=len(inputs), unit="file", disable=not progress, leave=False) as bar:
        for fault in broken:
            failed += _complain(fault)
        for path in inputs:
            try:
                for reading in _readings(path, reader, options):
                    _write(reading, str(path), options, out)
            except PictureError as error:
                failed += _complain(error)
            bar.update()
    return failed


def _complain(error: PictureError) -> int:
    tqdm.write(f"interview-grader: {error}", file=sys.stderr)
    return 1


def _expand(paths: Iterable[Path]) -> tuple[list[Path], list[PictureError]]:
    inputs: list[Path] = []
    broken: list[PictureError] = []
    for path in paths:
        try:
            inputs += list_pictures(path) if path.is_dir() else [path]
        except PictureError as error:
            broken.append(error)
        except OSError as error:
            broken.append(
                PictureError(f"{path}: cannot be read ({error.strerror}); expected a folder of pictures")
            )
    return inputs, broken


def _readings(path: Path, reader: Reader, options: Options) -> Iterator[Reading]:
    if is_picture(path):
        with hushed():
            image = read_picture(path)
        yield reader.pipeline.read_crop(image) if options.crops else reader.pipeline.read_still(image)
    elif options.crops:
        raise PictureError(
            f"{path}: --crops takes pictures of one face each; expected a JPEG, PNG or the like"
        )
    else:
        yield from _video(path, reader, options.every)


def _video(path: Path, reader: Reader, every: int) -> Iterator[Reading]:
    reader.pipeline.reset()
    film = Film(path)
    try:
        for number, frame in enumerate(film):
            if number % every == 0:
                yield reader.pipeline.read(Frame(number, frame.time_s, frame.image, frame.time_s))
    finally:
        film.close()
    if film.cut_short:
        raise PictureError(f"{path}: {film.remarks}; expected a whole video, copy it again")
    if film.remarks:
        tqdm.write(f"interview-grader: {path}: {film.remarks}", file=sys.stderr)


def _write(reading: Reading, source: str, options: Options, out: TextIO) -> None:
    found = reading_json(reading, source)
    if options.jsonl:
        line = json.dumps(found)
    else:
        faces = ", ".join(_in_words(face) for face in found["faces"])
        line = f"{source} {found['time_s']:.2f} s: {faces or 'no face'}"
    tqdm.write(line, file=out)


def _in_words(face: dict[str, Any]) -> str:
    if face["reason"]:
        return f"{face['id']} {face['label']} ({face['reason']})"
    return f"{face['id']} {face['label']} {max(face['emotions'].values()):.2f}"
