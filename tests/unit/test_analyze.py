"""How `analyze` gets through files: what it writes, what it says, and what it counts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from appliance.analysis.command import Options, analyze
from appliance.analysis.output import COLUMNS
from appliance.build import Reader, make_reader
from appliance.config import load
from appliance.layers import Request
from appliance.media.film import Film
from appliance.values import EMOTIONS, Image
from tests.doubles.films import make_film
from tests.doubles.files import encoded
from tests.doubles.parts import noise, picture


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    made = make_reader(load(Request(data_dir=tmp_path_factory.mktemp("state")), {}))
    yield made
    made.pipeline.close()


@pytest.fixture(scope="module")
def portrait(demo_clip: Path) -> Image:
    clip = Clip(demo_clip)
    try:
        return next(iter(clip))
    finally:
        clip.close()


class Analyzed:
    """What `analyze` wrote and how many inputs failed."""

    def __init__(self, reader: Reader, *paths: Path, **options: Any) -> None:
        out = io.StringIO()
        self.failed = analyze(paths, reader, Options(jsonl=True, **options), out, progress=False)
        self.readings = [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_picture_gives_one_line_and_is_read_alone(
    reader: Reader, tmp_path: Path, portrait: Image
) -> None:
    for name in ("a.png", "b.png"):
        saved(tmp_path, name, encoded(portrait, ".png"))
    saved(tmp_path, "c.png", encoded(picture(100, 100), ".png"))
    found = Analyzed(reader, tmp_path)
    assert found.failed == 0
    assert [each["source"] for each in found.readings] == [
        str(tmp_path / name) for name in ("a.png", "b.png", "c.png")
    ]
    assert [[face["id"] for face in each["faces"]] for each in found.readings] == [[1, 2], [1, 2], []]
    for each in found.readings:
        assert (each["frame"], each["time_s"]) == (0, 0)
        assert all(face["emotions"] == face["emotions_raw"] for face in each["faces"])


def test_a_failed_input_is_counted_and_the_others_are_done(
    reader: Reader, tmp_path: Path, portrait: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    good = saved(tmp_path, "good.jpg", encoded(portrait, ".jpg"))
    bad = saved(tmp_path, "bad.jpg", b"no picture")
    empty = tmp_path / "empty"
    empty.mkdir()
    found = Analyzed(reader, bad, tmp_path / "missing.png", empty, good)
    assert found.failed == 3
    assert [each["source"] for each in found.readings] == [str(good)]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    for named in (bad, tmp_path / "missing.png", empty):
        assert sum(str(named) + ":" in line and "expected" in line for line in lines) == 1


def test_one_bad_picture_does_not_end_its_folder(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    saved(tmp_path, "a.jpg", b"no picture")
    saved(tmp_path, "b.jpg", encoded(portrait, ".jpg"))
    found = Analyzed(reader, tmp_path)
    assert found.failed == 1 and len(found.readings) == 1


def test_a_video_is_a_sequence(reader: Reader, tmp_path: Path, demo_clip: Path) -> None:
    found = Analyzed(reader, demo_clip, every=60)
    assert found.failed == 0
    assert [each["frame"] for each in found.readings][:3] == [0, 60, 120]
    assert [each["time_s"] for each in found.readings][:3] == [0.0, 2.0, 4.0]
    assert {face["id"] for each in found.readings for face in each["faces"]} >= {1, 2}


def test_a_video_cut_in_half_gives_its_frames_and_fails(
    reader: Reader, tmp_path: Path, demo_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = demo_clip.read_bytes()
    path = saved(tmp_path, "half.mp4", data[: len(data) // 2])
    found = Analyzed(reader, path, every=50)
    assert found.failed == 1
    assert found.readings, "what is there is read"
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line and "expected a whole video" in line


@pytest.mark.parametrize("size", [(1, 1), (48, 48), (500, 300)])
def test_a_crop_always_has_its_scores(reader: Reader, tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path, "a.png", encoded(noise(*size), ".png"))
    (found,) = Analyzed(reader, path, crops=True).readings
    (face,) = found["faces"]
    assert face["id"] == 1 and face["box"] == [0, 0, *size]
    assert face["readable"] and face["emotions"] == face["emotions_raw"]
    assert sum(face["emotions"].values()) == pytest.approx(1.0, abs=0.001)


def test_a_video_is_no_crop(reader: Reader, demo_clip: Path) -> None:
    found = Analyzed(reader, demo_clip, crops=True)
    assert found.failed == 1 and found.readings == []


def test_a_huge_picture(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    large = np.zeros((9000, 12000), np.uint8)
    grey = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    large[:8640, :11520] = cv2.resize(grey, (11520, 8640), interpolation=cv2.INTER_NEAREST)
    found = Analyzed(reader, saved(tmp_path, "large.jpg", encoded(large, ".jpg")))
    assert found.failed == 0
    (only,) = found.readings
    assert (only["width"], only["height"]) == (12000, 9000)
    assert len(only["faces"]) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (3000, 2)])
def test_a_tiny_or_thin_picture_has_no_face_but_a_line(
    reader: Reader, tmp_path: Path, size: tuple[int, int]
) -> None:
    found = Analyzed(reader, saved(tmp_path, "a.png", encoded(noise(*size), ".png")))
    assert found.failed == 0 and len(found.readings) == 1
