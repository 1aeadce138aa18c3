"""Pictures whose faces are marked with boxes: a CSV file, COCO JSON, or JSON with faces per picture."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from appliance.commands.evaluate.datasets import refuse_if_none_exists
from appliance.commands.evaluate.matching import Marked
from appliance.commands.evaluate.tables import Problems, path_fault, read_rows, read_text
from appliance.errors import ConfigError
from appliance.values import Box

_NUMBERS = ("x", "y", "width", "height")

_Place = Annotated[float, Field(allow_inf_nan=False)]
_Side = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Rectangle = tuple[_Place, _Place, _Side, _Side]


@dataclass(frozen=True)
class Scene:
    """One picture, its name inside the data set, and the faces that are marked in it."""

    path: Path
    name: str
    faces: tuple[Marked, ...]


@dataclass(frozen=True)
class Marks:
    """The pictures of a data set; `repeated` more lines marked a face again."""

    scenes: tuple[Scene, ...]
    repeated: int = 0


class _Face(BaseModel):
    xywh_px: _Rectangle
    cls: str = "face"


class _Own(BaseModel):
    """A picture that lists its own faces."""

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


def read_marked(path: Path) -> Marks:
    """The data set at `path`; raises `ConfigErrors` with everything that is wrong with it."""
    readers = {".csv": _from_csv, ".json": _from_json}
    reader = readers.get(path.suffix.lower())
    if not path.is_file() or reader is None:
        what = "is neither a .csv nor a .json file" if path.exists() else "there is no such file"
        raise ConfigError(
            f"{what}; expected a CSV path,x,y,width,height or a COCO-like JSON file", file=str(path)
        )
    named, repeated = reader(path)
    if not named:
        raise ConfigError("no pictures in it; expected at least one", file=str(path))
    problems = Problems(path)
    for name in named:
        if fault := path_fault(name):
            problems.add(fault)
    problems.raise_any()
    scenes = tuple(Scene(path.parent / name, name, tuple(faces)) for name, faces in named.items())
    refuse_if_none_exists(path, [scene.path for scene in scenes])
    return Marks(scenes, repeated)


_Named = tuple[dict[str, list[Marked]], int]


def _from_csv(path: Path) -> _Named:
    problems = Problems(path)
    named: dict[str, list[Marked]] = {}
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
                f"line {line}: {values}: expected x, y, width and height in pixels, the sides over 0,"
                " or four empty values for a picture without a face"
            )
        elif Marked(box) in faces:
            repeated += 1
        else:
            faces.append(Marked(box))
    for name, line in empty.items():
        if named[name]:
            problems.add(f"line {line}: {name} has no face here and {len(named[name])} elsewhere; keep one")
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
    named: dict[str, list[Marked]] = {}
    repeated = 0
    for image in _OwnFile.model_validate(found).images:
        faces = named.setdefault(image.file, [])
        for face in image.faces:
            repeated += _put(faces, Marked(Box(*face.xywh_px), face.cls))
    return named, repeated


def _from_coco(found: _CocoFile, path: Path) -> _Named:
    kinds = {category.id: category.name for category in found.categories}
    files = {image.id: image.file_name for image in found.images}
    named: dict[str, list[Marked]] = {image.file_name: [] for image in found.images}
    problems = Problems(path)
    repeated = 0
    for number, mark in enumerate(found.annotations):
        if mark.image_id not in files:
            problems.add(f"annotations.{number}: image_id {mark.image_id} is none of its images; correct it")
        elif not mark.iscrowd:  # a crowd's box is no face's
            kind = kinds.get(mark.category_id, "face") if mark.category_id is not None else "face"
            repeated += _put(named[files[mark.image_id]], Marked(Box(*mark.bbox), kind))
    problems.raise_any()
    return named, repeated


def _put(faces: list[Marked], face: Marked) -> int:
    """Adds the face unless it is there; returns how many it was named in vain, 0 or 1."""
    if face in faces:
        return 1
    faces.append(face)
    return 0
