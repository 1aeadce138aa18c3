"""Labelled pictures: a folder with a sub-folder for each expression, or a CSV file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from appliance.commands.evaluate.labels import accepted, expression
from appliance.commands.evaluate.tables import Problems, path_fault, read_rows
from appliance.errors import ConfigError, PictureError
from appliance.media.inputs import HIDDEN, OTHER, Listing, list_folder, natural_key


@dataclass(frozen=True)
class Sample:
    """One picture, its name inside the data set, and its label, one of the seven."""

    path: Path
    name: str
    label: str


@dataclass(frozen=True)
class Labelled:
    """The pictures of a data set; `repeated` more lines named one again, `skipped` files by reason."""

    samples: tuple[Sample, ...]
    repeated: int = 0
    skipped: Counter[str] = field(default_factory=Counter)


def read_labelled(path: Path) -> Labelled:
    """The data set at `path`; raises `ConfigErrors` with everything that is wrong with it."""
    if path.is_dir():
        return _read_folder(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return _read_csv(path)
    what = "is neither a folder nor a .csv file" if path.exists() else "there is no such folder or file"
    raise ConfigError(
        f"{what}; expected a folder with one sub-folder for each expression, or a CSV path,label",
        file=str(path),
    )


def _read_folder(folder: Path) -> Labelled:
    problems = Problems(folder)
    samples: list[Sample] = []
    top = _list(folder, recursive=False)
    skipped = Counter({reason: top.skipped[reason] for reason in (HIDDEN, OTHER) if top.skipped[reason]})
    for child in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if child.name.startswith(".") or not child.is_dir():
            continue
        label = expression(child.name)
        if label is None:
            problems.add(f"folder {child.name}: expected {accepted()}; rename it or take it away")
            continue
        found = _list(child, recursive=True)  # many sets have a folder for each person
        skipped += found.skipped
        samples += [Sample(file, str(file.relative_to(folder)), label) for file in found.files]
    if loose := top.files:
        problems.add(
            f"{loose[0].name} and {len(loose) - 1} more pictures lie beside the sub-folders;"
            " move each into the one of its expression"
        )
    problems.raise_any()
    if not samples:
        problems.add(f"no pictures in its sub-folders; expected folders named {accepted()} with pictures")
    problems.raise_any()
    return Labelled(tuple(samples), skipped=skipped)


def _list(folder: Path, *, recursive: bool) -> Listing:
    try:
        found = list_folder(folder, recursive=recursive)
    except PictureError as error:
        raise ConfigError(str(error)) from error
    if found.failed:
        raise ConfigError(str(found.failed[0])) from found.failed[0]
    return found


def _read_csv(path: Path) -> Labelled:
    problems = Problems(path)
    unknown: dict[str, list[int]] = {}
    samples: dict[str, tuple[int, Sample]] = {}
    repeated = 0
    for line, row in read_rows(path, ("path", "label")):
        name, label = row["path"], expression(row["label"])
        if fault := path_fault(name):
            problems.add(f"line {line}: {fault}")
        elif label is None:
            unknown.setdefault(row["label"], []).append(line)
        elif name not in samples:
            samples[name] = line, Sample(path.parent / name, name, label)
        elif samples[name][1].label == label:
            repeated += 1
        else:
            first, before = samples[name]
            problems.add(
                f"line {line}: {name} is {label} here and {before.label} in line {first}; keep one of them"
            )
    for text, lines in unknown.items():
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        problems.add(f"line {lines[0]}{more}: label {text!r}: expected {accepted()}; correct or leave out")
    problems.raise_any()
    found = tuple(sample for _, sample in samples.values())
    refuse_if_none_exists(path, [sample.path for sample in found])
    return Labelled(found, repeated)


def refuse_if_none_exists(file: Path, pictures: list[Path]) -> None:
    """Raises `ConfigError` when not one picture is there: then the list lies in the wrong place."""
    if not any(picture.exists() for picture in pictures):
        raise ConfigError(
            f"none of its {len(pictures)} pictures is there, such as {pictures[0]};"
            " their paths are relative to the folder of this file",
            file=str(file),
        )
