"""Data sets of `evaluate`: folders, CSV and JSON files, and what can be wrong with them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from appliance.commands.evaluate.datasets import (
    ALIASES,
    accepted_names,
    expression_named,
    read_annotated,
    read_labelled,
)
from appliance.errors import ConfigError, ConfigErrors
from appliance.values import EMOTIONS, Box


def touched(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def csv(folder: Path, text: str, *pictures: str) -> Path:
    touched(folder, *pictures)
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusals(read: object, path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(path)  # type: ignore[operator]
    problems = caught.value.problems if isinstance(caught.value, ConfigErrors) else [caught.value]
    assert all(str(path) in str(problem) for problem in problems)
    return [str(problem) for problem in problems]


# --- names ---


def test_every_name_and_alias_is_accepted_in_any_case() -> None:
    for name in EMOTIONS:
        assert expression_named(name) == expression_named(f" {name.upper()} ") == name
    for alias, name in ALIASES.items():
        assert expression_named(alias.title()) == name and name in EMOTIONS and alias in accepted_names()


@pytest.mark.parametrize("name", ["contempt", "", "0", "happy!", "unknown"])
def test_other_names_are_not_guessed(name: str) -> None:
    assert expression_named(name) is None


# --- folders ---


def test_a_folder_of_classes(tmp_path: Path) -> None:
    touched(tmp_path, "Happiness/b.png", "Happiness/a.jpg", "happy/c.png", "sad/anna/d.png", "sad/.x.png")
    touched(tmp_path, "readme.txt", ".git/x.png", "sad/notes.txt")
    (tmp_path / "fear").mkdir()
    found = read_labelled(tmp_path)
    assert [(sample.name, sample.label) for sample in found.samples] == [
        ("Happiness/a.jpg", "happy"),
        ("Happiness/b.png", "happy"),
        ("happy/c.png", "happy"),
        ("sad/anna/d.png", "sad"),
    ]


def test_every_unknown_folder_is_reported(tmp_path: Path) -> None:
    touched(tmp_path, "contempt/a.png", "happy/b.png", "boredom/c.png", "loose.png")
    lines = refusals(read_labelled, tmp_path)
    assert len(lines) == 3
    for word in ("boredom", "contempt"):
        (line,) = (line for line in lines if f"folder {word}:" in line)
        assert "surprise" in line and "disgusted" in line
    assert "loose.png" in lines[-1]


@pytest.mark.parametrize("names", [[], ["happy/notes.txt"]])
def test_a_folder_without_pictures(tmp_path: Path, names: list[str]) -> None:
    touched(tmp_path, *names)
    (line,) = refusals(read_labelled, tmp_path)
    assert "no pictures" in line and "happy" in line


def test_a_missing_path_and_a_wrong_file_type(tmp_path: Path) -> None:
    assert "no such folder or file" in refusals(read_labelled, tmp_path / "nowhere")[0]
    touched(tmp_path, "a.png")
    assert "neither a folder nor a .csv" in refusals(read_labelled, tmp_path / "a.png")[0]
    assert "neither a .csv nor a .json" in refusals(read_annotated, tmp_path / "a.png")[0]
    assert "no such file" in refusals(read_annotated, tmp_path / "nowhere.csv")[0]


# --- CSV of labels ---


def test_a_list_of_labels(tmp_path: Path) -> None:
    text = "\ufefflabel,path,who\nsurprise,a.png,x\nsad, in/b.png,y\nsurprised,a.png,x\nsad,missing.png,z\n"
    found = read_labelled(csv(tmp_path, text, "a.png", "in/b.png"))
    assert [(sample.name, sample.label) for sample in found.samples] == [
        ("a.png", "surprised"),
        ("in/b.png", "sad"),
        ("missing.png", "sad"),  # named when it cannot be opened
    ]
    assert found.repeated == 1
    assert found.samples[1].path == tmp_path / "in" / "b.png"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["columns none", "path,label"]),
        ("path\na.png\n", ["label missing", "path,label"]),
        ("path;label\na.png;sad\n", ["path;label", "commas"]),
        ("path,label\n", ["has only a header"]),
        ("path,label\na.png\n", ["line 2", "2 values"]),
        ("path,label\na.png,sad,x\n", ["line 2", "2 values"]),
        ("path,label\na.png,contempt\nb.png,contempt\n", ["line 2 and 1 more", "'contempt'", "happy"]),
        ("path,label\n,sad\n", ["line 2", "the path is empty"]),
        ("path,label\n/a.png,sad\n", ["line 2", "/a.png", "absolute"]),
        ("path,label\na.png,sad\na.png,happy\n", ["line 3", "a.png is happy here and sad in line 2"]),
        ("path,label\nb.png,sad\nc.png,happy\n", ["none of its 2 pictures", "b.png", "relative"]),
    ],
)
def test_a_wrong_list_of_labels(tmp_path: Path, text: str, words: list[str]) -> None:
    (line,) = refusals(read_labelled, csv(tmp_path, text, "a.png"))
    for word in words:
        assert word in line


def test_a_list_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"path,label\n\xff\xfe,sad\n")
    assert "UTF-8" in refusals(read_labelled, path)[0]


def test_the_number_of_reported_problems_is_bounded(tmp_path: Path) -> None:
    text = "path,label\n" + "".join(f"/{number}.png,sad\n" for number in range(1000))
    lines = refusals(read_labelled, csv(tmp_path, text))
    assert len(lines) == 21 and "980 more" in lines[-1]


# --- faces ---


def test_a_list_of_faces(tmp_path: Path) -> None:
    text = "path,x,y,width,height\na.png,1,2.5,30,40\na.png,50,2,30,40\na.png,1,2.5,30,40\nb.png,,,,\n"
    found = read_annotated(csv(tmp_path, text, "a.png"))
    assert found.repeated == 1
    assert [(scene.name, [face.box for face in scene.faces]) for scene in found.scenes] == [
        ("a.png", [Box(1, 2.5, 30, 40), Box(50, 2, 30, 40)]),
        ("b.png", []),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,x,y,w,h\na.png,1,1,1,1\n", ["width, height missing"]),
        ("path,x,y,width,height\na.png,1,,3,4\n", ["line 2", "1,,3,4"]),
        ("path,x,y,width,height\na.png,1,2,0,4\n", ["line 2", "above 0"]),
        ("path,x,y,width,height\na.png,1,nan,3,4\n", ["line 2", "nan"]),
        (
            "path,x,y,width,height\na.png,1,2,3,4\na.png,,,,\n",
            ["line 3", "no face here and 1 in other lines"],
        ),
        ("path,x,y,width,height\n/a.png,1,2,3,4\n", ["/a.png", "absolute"]),
    ],
)
def test_a_wrong_list_of_faces(tmp_path: Path, text: str, words: list[str]) -> None:
    (line,) = refusals(read_annotated, csv(tmp_path, text, "a.png"))
    for word in words:
        assert word in line


def marks(folder: Path, found: object) -> Path:
    touched(folder, "in/a.jpg")
    path = folder / "marks.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found), encoding="utf-8")
    return path


def test_json_with_faces_per_picture(tmp_path: Path) -> None:
    faces = [{"xywh_px": [1, 2, 3, 4], "cls": "masked", "more": 1}, {"xywh_px": [5, 6, 7, 8]}]
    images = [{"file": "in/a.jpg", "width": 10, "faces": faces}, {"file": "in/b.jpg", "faces": []}]
    found = read_annotated(marks(tmp_path, {"source": "x", "images": images}))
    assert [len(scene.faces) for scene in found.scenes] == [2, 0]
    assert Counter(face.kind for face in found.scenes[0].faces) == {"masked": 1, "face": 1}
    assert found.scenes[0].faces[0].box == Box(1, 2, 3, 4)


def test_coco_json(tmp_path: Path) -> None:
    document = {
        "images": [{"id": 7, "file_name": "in/a.jpg"}, {"id": 8, "file_name": "in/b.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 7, "bbox": [1, 2, 3, 4], "category_id": 1},
            {"id": 2, "image_id": 7, "bbox": [0, 0, 90, 90], "category_id": 1, "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "child"}],
    }
    found = read_annotated(marks(tmp_path, document))
    assert [(scene.name, [face.kind for face in scene.faces]) for scene in found.scenes] == [
        ("in/a.jpg", ["child"]),
        ("in/b.jpg", []),
    ]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", ["not valid JSON"]),
        ([], ["the file"]),
        ({"images": []}, ["no pictures"]),
        ({"images": [{"file": "in/a.jpg"}]}, ["images.0.faces", "required"]),
        ({"images": [{"file": "in/a.jpg", "faces": [{"xywh_px": [1, 2, 3]}]}]}, ["xywh_px"]),
        ({"images": [{"file": "in/a.jpg", "faces": [{"xywh_px": [1, 2, 0, 4]}]}]}, ["xywh_px.2 = 0"]),
        (
            {
                "images": [{"id": 1, "file_name": "in/a.jpg"}],
                "annotations": [{"image_id": 2, "bbox": [1, 2, 3, 4]}],
            },
            ["annotations.0", "image_id 2"],
        ),
        ({"images": [{"file": "/a.jpg", "faces": []}]}, ["/a.jpg", "absolute"]),
    ],
)
def test_wrong_json(tmp_path: Path, document: object, words: list[str]) -> None:
    lines = refusals(read_annotated, marks(tmp_path, document))
    for word in words:
        assert word in lines[0]
