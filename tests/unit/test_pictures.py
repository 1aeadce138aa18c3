"""Pictures and videos from files, and how `analyze` gets through a heap of bad ones."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.build import Reader, make_reader
from appliance.config import load
from appliance.errors import PictureError
from appliance.layers import Request
from appliance.media.film import Film
from appliance.offline import Options, analyze
from appliance.pictures import is_picture, list_pictures, read_picture
from appliance.values import Image
from tests.doubles.files import cmyk_jpeg, encoded, tiff_with_directory_in_front, with_orientation
from tests.doubles.parts import noise, picture


def smooth(width: int = 64, height: int = 48) -> Image:
    """A picture that survives lossy compression: blue grows to the right, red downwards."""
    image = picture(width, height, 60)
    image[:, :, 0] = np.linspace(0, 255, width)[None, :]
    image[:, :, 2] = np.linspace(0, 255, height)[:, None]
    return image


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# --- pictures that can be read ---


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"])
def test_every_kind_of_picture(tmp_path: Path, suffix: str) -> None:
    image = read_picture(saved(tmp_path, f"a{suffix}", encoded(smooth(), suffix.lower())))
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - smooth()).mean() < 6


@pytest.mark.parametrize(
    ("made", "suffix"),
    [
        (smooth()[:, :, 0], ".png"),
        (smooth()[:, :, 0], ".jpg"),
        (smooth()[:, :, 0], ".pgm"),
        (smooth().astype(np.uint16) * 257, ".png"),
        (smooth()[:, :, 0].astype(np.uint16) * 257, ".png"),
        (smooth().astype(np.uint16) * 257, ".tiff"),
        (cv2.merge([smooth(), np.full((48, 64), 9, np.uint8)]), ".png"),
        (cv2.merge([smooth(), np.full((48, 64), 255, np.uint8)]), ".webp"),
    ],
    ids=["grey", "grey jpeg", "pgm", "16 bit", "16 bit grey", "16 bit tiff", "alpha", "alpha webp"],
)
def test_any_depth_and_number_of_channels_becomes_8_bit_colour(
    tmp_path: Path, made: Any, suffix: str
) -> None:
    image = read_picture(saved(tmp_path, f"a{suffix}", encoded(made, suffix)))
    assert image.shape == (48, 64, 3) and image.dtype == np.uint8
    grey = made.ndim == 2
    expected = cv2.merge([smooth()[:, :, 0]] * 3) if grey else smooth()
    assert np.abs(image.astype(int) - expected).mean() < 6


@pytest.mark.parametrize(
    ("ink", "blue_green_red"),
    [((0, 0, 0, 0), (255, 255, 255)), ((0, 0, 0, 255), (0, 0, 0)), ((0, 255, 255, 0), (0, 0, 255))],
    ids=["no ink", "black", "magenta and yellow"],
)
def test_a_jpeg_for_printing(tmp_path: Path, ink: tuple[int, int, int, int], blue_green_red: Any) -> None:
    image = read_picture(saved(tmp_path, "a.jpg", cmyk_jpeg(ink)))
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - blue_green_red).max() <= 3


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda i: i),
        (3, lambda i: i[::-1, ::-1]),
        (6, lambda i: np.rot90(i, -1)),
        (8, np.rot90),
    ],
    ids=["upright", "upside down", "to the right", "to the left"],
)
def test_a_picture_is_turned_upright_by_its_exif_entry(tmp_path: Path, orientation: int, turned: Any) -> None:
    jpeg = with_orientation(encoded(smooth(), ".jpg"), orientation)
    image = read_picture(saved(tmp_path, "a.jpg", jpeg))
    expected = turned(smooth())
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 6


def test_a_picture_of_one_pixel(tmp_path: Path) -> None:
    assert read_picture(saved(tmp_path, "a.png", encoded(picture(1, 1, 7), ".png"))).tolist() == [[[7, 7, 7]]]


def test_a_whole_jpeg_with_something_behind_it(tmp_path: Path) -> None:
    # Phones append a film to their pictures; its bytes may look like the beginning of a scan.
    data = encoded(smooth(), ".jpg") + b"ftypmp42 \xff\xda film"
    assert read_picture(saved(tmp_path, "a.jpg", data)).shape == (48, 64, 3)


def test_a_whole_png_with_something_behind_it(tmp_path: Path) -> None:
    data = encoded(smooth(), ".png") + bytes(5000)
    assert read_picture(saved(tmp_path, "a.png", data)).shape == (48, 64, 3)


# --- pictures that cannot ---


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm"])
def test_a_picture_cut_short(tmp_path: Path, suffix: str, share: float) -> None:
    data = encoded(noise(64, 48), suffix)
    path = saved(tmp_path, f"a{suffix}", data[: int(len(data) * share)])
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    assert str(path) in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize("share", [0.4, 0.95])
def test_a_tiff_cut_short_behind_its_directory(tmp_path: Path, share: float) -> None:
    data = tiff_with_directory_in_front(noise(64, 48))
    assert read_picture(saved(tmp_path, "whole.tif", data)).shape == (48, 64, 3)
    with pytest.raises(PictureError):
        read_picture(saved(tmp_path, "cut.tif", data[: int(len(data) * share)]))


def test_a_progressive_jpeg_cut_short(tmp_path: Path) -> None:
    done, data = cv2.imencode(".jpg", noise(64, 48), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    with pytest.raises(PictureError, match="cut short"):
        read_picture(saved(tmp_path, "a.jpg", bytes(data)[: len(data) // 2]))


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"", "is empty"), (b"this is no picture", "not a picture"), (b"\xff\xd8", "cut short")],
    ids=["empty", "text", "two bytes"],
)
def test_a_file_that_is_no_picture(tmp_path: Path, content: bytes, named: str) -> None:
    path = saved(tmp_path, "a.jpg", content)
    with pytest.raises(PictureError, match=named) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.jpg", "folder.jpg"])
def test_a_picture_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(PictureError, match="cannot be read"):
        read_picture(tmp_path / name)


def test_pictures_of_a_folder_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", "clip.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "c.jpg").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.jpg", "b.PNG"]


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PictureError, match=f"{tmp_path}: no pictures in this folder; expected"):
        list_pictures(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.jpg", True), ("a.WebP", True), ("a.mp4", False), ("jpg", False)]
)
def test_a_picture_is_known_by_its_name(name: str, expected: bool) -> None:
    assert is_picture(Path(name)) is expected


# --- analyze ---


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    made = make_reader(load(Request(data_dir=tmp_path_factory.mktemp("state")), {}))
    yield made
    made.pipeline.close()


@pytest.fixture(scope="module")
def portrait(demo_clip: Path) -> Image:
    film = Film(demo_clip)
    try:
        return next(iter(film)).image
    finally:
        film.close()


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
