"""The owner's data sets: pictures with an expression label, and pictures with face boxes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from appliance.commands.evaluate.metrics import FaceAnnotation
from appliance.errors import ConfigError, ConfigErrors, PictureError
from appliance.media.inputs import HIDDEN, OTHER, Listing, list_folder, natural_key
from appliance.values import EMOTIONS, Box

# --- files and their problems ---

_MOST_PROBLEMS = 20


class Problems:
    """Collects the problems of one input, to report them all at once."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._found: list[ConfigError] = []

    def add(self, text: str) -> None:
        """Add a problem: value, what was expected, next step, as in `errors`."""
        self._found.append(ConfigError(text, file=self._file))

    def raise_any(self) -> None:
        """Raise `ConfigErrors` if there are problems: the first ones, and the number of the others."""
        shown = self._found[:_MOST_PROBLEMS]
        if more := len(self._found) - len(shown):
            shown.append(ConfigError(f"{more} more problems; correct the file", file=self._file))
        if shown:
            raise ConfigErrors(shown)


def read_text(path: Path) -> str:
    """A UTF-8 text file, without a byte order mark; raises `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror}); expected a text file", file=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text; save it as CSV or JSON in UTF-8", file=str(path)) from error


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with their line numbers; other columns are ignored.

    Raises `ConfigError` if a column is missing, `ConfigErrors` if a row has too few or too many values.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    problems = Problems(path)
    rows = []
    try:
        header = list(reader.fieldnames or [])
        if missing := [name for name in columns if name not in header]:
            raise ConfigError(
                f"columns {','.join(header) or 'none'}: {', '.join(missing)} missing; expected the first line"
                f" {','.join(columns)}, with commas",
                file=str(path),
            )
        for row in reader:
            if None in row or any(row[name] is None for name in columns):
                problems.add(
                    f"line {reader.line_num}: expected {len(header)} values with commas; correct the line"
                )
            else:
                rows.append((reader.line_num, {name: row[name].strip() for name in columns}))
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num}: {error}; expected CSV", file=str(path)) from error
    problems.raise_any()
    if not rows:
        raise ConfigError("has only a header; expected a line for each picture", file=str(path))
    return rows


def path_fault(text: str) -> str | None:
    """Why this is not a path inside a data set; None if it is one."""
    if not text:
        return "the path is empty; name a picture"
    if "\0" in text:
        return "the path has a zero byte; name a picture"
    if PurePath(text).is_absolute():
        return f"path {text}: is absolute; expected one relative to the folder of this file"
    return None


# --- names of the expressions ---

ALIASES = {
    "anger": "angry",
    "disgust": "disgusted",
    "fearful": "fear",
    "afraid": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprised",
    "neutrality": "neutral",
}
"""Names that other data sets use, and our names for them. They are accepted only as input."""


def expression_named(name: str) -> str | None:
    """Our name of an expression, in any spelling and case; None if it is not one of the seven."""
    plain = name.strip().lower()
    return plain if plain in EMOTIONS else ALIASES.get(plain)


def accepted_names() -> str:
    """The accepted names, for an error message."""
    return f"one of {', '.join(EMOTIONS)} (also accepted: {', '.join(ALIASES)})"


# --- labelled pictures: a folder with a sub-folder for each expression, or a CSV file ---


@dataclass(frozen=True)
class LabelledPicture:
    """A picture, its name inside the data set, and its label, one of `EMOTIONS`."""

    path: Path
    name: str
    label: str


@dataclass(frozen=True)
class LabelledPictures:
    """The pictures of a data set; `repeated`: lines that repeat a picture; `skipped`: files by reason."""

    samples: tuple[LabelledPicture, ...]
    repeated: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def read_labelled(path: Path) -> LabelledPictures:
    """Read the data set at `path`; raises `ConfigErrors` with all its problems."""
    if path.is_dir():
        return _read_folder(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _read_csv(path)
    what = "is neither a folder nor a .csv file" if path.exists() else "no such folder or file"
    raise ConfigError(
        f"{what}; expected a folder with one sub-folder for each expression, or a CSV file path,label",
        file=str(path),
    )


def _read_folder(folder: Path) -> LabelledPictures:
    problems = Problems(folder)
    samples: list[LabelledPicture] = []
    top = _list(folder, recursive=False)
    skipped = Counter({reason: top.skipped[reason] for reason in (HIDDEN, OTHER) if top.skipped[reason]})
    for child in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if child.name.startswith(".") or not child.is_dir():
            continue
        label = expression_named(child.name)
        if label is None:
            problems.add(f"folder {child.name}: expected {accepted_names()}; rename or remove it")
            continue
        found = _list(child, recursive=True)  # many data sets have a folder for each person
        skipped += found.skipped
        samples += [LabelledPicture(file, str(file.relative_to(folder)), label) for file in found.files]
    if loose := top.files:
        problems.add(
            f"{loose[0].name} and {len(loose) - 1} more pictures are not in a sub-folder;"
            " move each to the sub-folder of its expression"
        )
    problems.raise_any()
    if not samples:
        problems.add(
            f"no pictures in its sub-folders; expected folders named {accepted_names()} with pictures"
        )
    problems.raise_any()
    return LabelledPictures(tuple(samples), skipped=skipped)


def _list(folder: Path, *, recursive: bool) -> Listing:
    try:
        found = list_folder(folder, recursive=recursive)
    except PictureError as error:
        raise ConfigError(str(error)) from error
    if found.failed:
        raise ConfigError(str(found.failed[0])) from found.failed[0]
    return found


def _read_csv(path: Path) -> LabelledPictures:
    problems = Problems(path)
    unknown: dict[str, list[int]] = {}
    samples: dict[str, tuple[int, LabelledPicture]] = {}
    repeated = 0
    for line, row in read_rows(path, ("path", "label")):
        name, label = row["path"], expression_named(row["label"])
        if fault := path_fault(name):
            problems.add(f"line {line}: {fault}")
        elif label is None:
            unknown.setdefault(row["label"], []).append(line)
        elif name not in samples:
            samples[name] = line, LabelledPicture(path.parent / name, name, label)
        elif samples[name][1].label == label:
            repeated += 1
        else:
            first, before = samples[name]
            problems.add(
                f"line {line}: {name} is {label} here and {before.label} in line {first}; keep one of them"
            )
    for text, lines in unknown.items():
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        problems.add(
            f"line {lines[0]}{more}: label {text!r}: expected {accepted_names()}; correct or remove it"
        )
    problems.raise_any()
    found = tuple(sample for _, sample in samples.values())
    refuse_if_none_exists(path, [sample.path for sample in found])
    return LabelledPictures(found, repeated)


def refuse_if_none_exists(file: Path, pictures: list[Path]) -> None:
    """Raise `ConfigError` if no picture exists: the list is in the wrong folder."""
    if not any(picture.exists() for picture in pictures):
        raise ConfigError(
            f"none of its {len(pictures)} pictures exists, such as {pictures[0]};"
            " paths are relative to the folder of this file",
            file=str(file),
        )


# --- pictures with face boxes: a CSV file, COCO JSON, or JSON with the faces of each picture ---

_NUMBERS = ("x", "y", "width", "height")

_Place = Annotated[float, Field(allow_inf_nan=False)]
_Side = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Rectangle = tuple[_Place, _Place, _Side, _Side]


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture, its name inside the data set, and its annotated faces."""

    path: Path
    name: str
    faces: tuple[FaceAnnotation, ...]


@dataclass(frozen=True)
class AnnotatedPictures:
    """The pictures of a data set; `repeated`: lines that repeat a face."""

    scenes: tuple[AnnotatedPicture, ...]
    repeated: int = 0


class _Face(BaseModel):
    xywh_px: _Rectangle
    cls: str = "face"


class _Own(BaseModel):
    """A picture with its faces."""

    file: str
    faces: list[_Face]


class _CocoImage(BaseModel):
    id: int | str
    file_name: str


class _CocoBox(BaseModel):
    image_id: int | str
    bbox: _Rectangle
    category_id: int | str | None = None
    iscrowd: int = 0


class _CocoCategory(BaseModel):
    id: int | str
    name: str


class _OwnFile(BaseModel):
    images: list[_Own]


class _CocoFile(BaseModel):
    images: list[_CocoImage]
    annotations: list[_CocoBox]
    categories: list[_CocoCategory] = []


def read_annotated(path: Path) -> AnnotatedPictures:
    """Read the data set at `path`; raises `ConfigErrors` with all its problems."""
    readers = {".csv": _from_csv, ".json": _from_json}
    reader = readers.get(path.suffix.lower())
    if not path.is_file() or reader is None:
        what = "is neither a .csv nor a .json file" if path.exists() else "no such file"
        raise ConfigError(
            f"{what}; expected a CSV file path,x,y,width,height or a COCO-like JSON file", file=str(path)
        )
    named, repeated = reader(path)
    if not named:
        raise ConfigError("contains no pictures; expected at least one", file=str(path))
    problems = Problems(path)
    for name in named:
        if fault := path_fault(name):
            problems.add(fault)
    problems.raise_any()
    scenes = tuple(AnnotatedPicture(path.parent / name, name, tuple(faces)) for name, faces in named.items())
    refuse_if_none_exists(path, [scene.path for scene in scenes])
    return AnnotatedPictures(scenes, repeated)


_Named = tuple[dict[str, list[FaceAnnotation]], int]


def _from_csv(path: Path) -> _Named:
    problems = Problems(path)
    named: dict[str, list[FaceAnnotation]] = {}
    empty: dict[str, int] = {}
    repeated = 0
    for line, row in read_rows(path, ("path", *_NUMBERS)):
        faces = named.setdefault(row["path"], [])
        if not any(row[name] for name in _NUMBERS):
            empty.setdefault(row["path"], line)
            continue
        box = _box(row)
        if box is None:
            values = ",".join(row[name] for name in _NUMBERS)
            problems.add(
                f"line {line}: {values}: expected x, y, width and height in pixels, with width and height"
                " above 0, or four empty values for a picture without a face"
            )
        elif FaceAnnotation(box) in faces:
            repeated += 1
        else:
            faces.append(FaceAnnotation(box))
    for name, line in empty.items():
        if named[name]:
            problems.add(
                f"line {line}: {name} has no face here and {len(named[name])} in other lines; keep one"
            )
    problems.raise_any()
    return named, repeated


def _box(row: dict[str, str]) -> Box | None:
    try:
        box = Box(*(float(row[name]) for name in _NUMBERS))
    except ValueError:
        return None
    sides = (box.x, box.y, box.width, box.height)
    return box if all(map(math.isfinite, sides)) and box.width > 0 and box.height > 0 else None


def _from_json(path: Path) -> _Named:
    text = read_text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"is not valid JSON: {error}; correct the file", file=str(path)) from error
    is_coco = isinstance(found, dict) and "annotations" in found
    try:
        return _from_coco(_CocoFile.model_validate(found), path) if is_coco else _from_own(found)
    except ValidationError as error:
        problems = Problems(path)
        for each in error.errors():
            place = ".".join(map(str, each["loc"])) or "the file"
            problems.add(f"{place} {_shown(each['input'])}: {each['msg']}; correct the file")
        problems.raise_any()
        raise


def _shown(value: Any) -> str:
    text = "" if isinstance(value, (dict, list)) else repr(value)
    return f"= {text[:60]}" if text else "(a table or list)"


def _from_own(found: Any) -> _Named:
    named: dict[str, list[FaceAnnotation]] = {}
    repeated = 0
    for image in _OwnFile.model_validate(found).images:
        faces = named.setdefault(image.file, [])
        for face in image.faces:
            repeated += _put(faces, FaceAnnotation(Box(*face.xywh_px), face.cls))
    return named, repeated


def _from_coco(found: _CocoFile, path: Path) -> _Named:
    kinds = {category.id: category.name for category in found.categories}
    files = {image.id: image.file_name for image in found.images}
    named: dict[str, list[FaceAnnotation]] = {image.file_name: [] for image in found.images}
    problems = Problems(path)
    repeated = 0
    for number, mark in enumerate(found.annotations):
        if mark.image_id not in files:
            problems.add(
                f"annotations.{number}: image_id {mark.image_id}: expected the id of an image; correct it"
            )
        elif not mark.iscrowd:  # the box of a crowd is not a face
            kind = kinds.get(mark.category_id, "face") if mark.category_id is not None else "face"
            repeated += _put(named[files[mark.image_id]], FaceAnnotation(Box(*mark.bbox), kind))
    problems.raise_any()
    return named, repeated


def _put(faces: list[FaceAnnotation], face: FaceAnnotation) -> int:
    """Add the face unless it exists; returns the number of repetitions, 0 or 1."""
    if face in faces:
        return 1
    faces.append(face)
    return 0
