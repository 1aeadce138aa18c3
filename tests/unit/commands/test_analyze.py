"""How `analyze` processes files: what it writes, reports and counts."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from appliance.commands.analyze.command import analyze
from appliance.commands.analyze.output import COLUMNS
from appliance.commands.analyze.reading import Options
from appliance.commands.jobs import Jobs
from appliance.composition.reader import Reader, make_reader
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import Config, load_config
from appliance.media.video import Video
from appliance.values import EMOTIONS, Image
from tests.fakes.files import encoded
from tests.fakes.parts import noise, picture
from tests.fakes.videos import video as make_video

pytestmark = pytest.mark.slow


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load_config(ConfigOptions(data_dir=tmp_path_factory.mktemp("state")), {})


@pytest.fixture(scope="module")
def reader(config: Config) -> Iterator[Reader]:
    made = make_reader(config)
    yield made
    made.pipeline.close()


@pytest.fixture(scope="module")
def portrait(demo_clip: Path) -> Image:
    video = Video(demo_clip)
    try:
        return next(iter(video)).image
    finally:
        video.close()


class Analyzed:
    """What `analyze` wrote and what it counted."""

    def __init__(self, reader: Reader, *paths: Path, **options: Any) -> None:
        out = io.StringIO()
        form = {} if options.get("csv") or options.pop("words", False) else {"jsonl": True}
        jobs = options.pop("jobs", None)
        self.counts = analyze(paths, reader, Options(**form, **options), out, progress=False, jobs=jobs)
        self.failed = self.counts.failed
        self.lines = out.getvalue().splitlines()
        if form:
            self.readings = [json.loads(line) for line in self.lines]
        self.out = out.getvalue()


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


@pytest.mark.parametrize("number", [1, 2])
def test_what_the_pictures_of_one_person_have_in_common_is_subtracted(
    reader: Reader, config: Config, tmp_path: Path, portrait: Image, number: int
) -> None:
    """The two people of the clip, one happy and one neutral, stand for two pictures of one person."""
    for name, part in (("happy", portrait[:, :640]), ("neutral", portrait[:, 640:])):
        saved(tmp_path, f"{name}.png", encoded(np.ascontiguousarray(part), ".png"))
    saved(tmp_path, "none.png", encoded(picture(100, 100), ".png"))
    saved(tmp_path, "bad.png", b"no picture")
    own = make_reader(config)
    alone = Analyzed(reader, tmp_path)
    found = Analyzed(own, tmp_path, same_person=True, jobs=Jobs(number, config))
    own.pipeline.close()
    assert (found.counts, found.failed) == (alone.counts, 1)
    assert [each["source"] for each in found.readings] == [each["source"] for each in alone.readings]
    for one, other in zip(found.readings, alone.readings, strict=True):
        for face, before in zip(one["faces"], other["faces"], strict=True):
            assert (face["baseline"], before["baseline"]) == ("pictures", None)
            assert face["emotions_raw"] == before["emotions_raw"] == before["emotions"]
            assert face["emotions"] != before["emotions"]
            assert face["label"] == before["label"] in one["source"]
            assert face["strength"] is None


def test_one_picture_of_a_person_stays_as_it_is(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    path = saved(tmp_path, "a.png", encoded(portrait, ".png"))
    (found,) = Analyzed(reader, path, same_person=True).readings
    assert sorted(str(face["baseline"]) for face in found["faces"]) == ["None", "pictures"], (
        "only the largest face is the person"
    )
    for face in found["faces"]:
        assert face["emotions"] == pytest.approx(face["emotions_raw"], abs=0.0002)


def test_a_summary_of_the_pictures_of_one_person(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    for name in ("a.png", "b.png"):
        saved(tmp_path, name, encoded(portrait[:, :640].copy(), ".png"))
    found = Analyzed(reader, tmp_path, same_person=True, summary=True)
    assert [(row["source"], row["labels"]["happy"]) for row in found.readings] == [
        (str(tmp_path / name), 1.0) for name in ("a.png", "b.png")
    ]


def test_a_failed_input_is_counted_and_the_others_are_read(
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


def test_a_video_is_read_as_a_sequence(reader: Reader, tmp_path: Path, demo_clip: Path) -> None:
    found = Analyzed(reader, demo_clip, every=60)
    assert found.failed == 0
    assert [each["frame"] for each in found.readings][:3] == [0, 60, 120]
    assert [each["time_s"] for each in found.readings][:3] == [0.0, 2.0, 4.0]
    assert (found.counts.pictures, found.counts.videos, found.counts.frames) == (0, 1, len(found.readings))
    assert found.counts.faces == sum(len(each["faces"]) for each in found.readings)
    assert {face["id"] for each in found.readings for face in each["faces"]} >= {1, 2}


def test_a_hard_cut_between_two_frames_that_are_read_gives_a_new_number(
    tmp_path: Path, reader: Reader, demo_clip: Path
) -> None:
    clip = Video(demo_clip)
    images = [frame.image for frame, _ in zip(clip, range(24), strict=False)]
    clip.close()
    cut = [np.ascontiguousarray(image[:, (n // 12) * 640 :][:, :640]) for n, image in enumerate(images)]
    done = Analyzed(reader, make_video(tmp_path / "cut.mp4", cut, options={"crf": "18"}), every=10)
    assert [[face["id"] for face in found["faces"]] for found in done.readings] == [[1], [1], [2]]


def test_a_video_cut_in_half_gives_its_frames_and_fails(
    reader: Reader, tmp_path: Path, demo_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = demo_clip.read_bytes()
    path = saved(tmp_path, "half.mp4", data[: len(data) // 2])
    found = Analyzed(reader, path, every=50)
    assert found.failed == 1
    assert found.readings, "the frames before the cut are read"
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line and "expected a complete video" in line


@pytest.mark.parametrize("size", [(1, 1), (48, 48), (500, 300)])
def test_a_crop_always_has_scores(reader: Reader, tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path, "a.png", encoded(noise(*size), ".png"))
    (found,) = Analyzed(reader, path, crops=True).readings
    (face,) = found["faces"]
    assert face["id"] == 1 and face["box"] == [0, 0, *size]
    assert face["readable"] and face["emotions"] == face["emotions_raw"]
    assert sum(face["emotions"].values()) == pytest.approx(1.0, abs=0.001)


def test_a_video_is_not_a_crop(reader: Reader, demo_clip: Path) -> None:
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


# --- inputs ---


def test_the_readable_files_of_a_folder_are_read_in_natural_order(
    reader: Reader, tmp_path: Path, portrait: Image
) -> None:
    make_video(tmp_path / "2024-11-30T10:30:00.mp4", [portrait] * 3)
    saved(tmp_path, "frame10.dat", encoded(portrait, ".jpg"))
    saved(tmp_path, "frame2", encoded(portrait, ".png"))
    saved(tmp_path, "notes.txt", b"words")
    saved(tmp_path, ".hidden.png", encoded(portrait, ".png"))
    (tmp_path / "below").mkdir()
    make_video(tmp_path / "below" / "a.avi", [portrait] * 2, codec="mjpeg", pixels="yuvj420p")
    found = Analyzed(reader, tmp_path)
    sources = [Path(each["source"]).name for each in found.readings]
    assert sources == ["2024-11-30T10:30:00.mp4"] * 3 + ["frame2", "frame10.dat"]
    assert all(len(each["faces"]) == 2 for each in found.readings)
    assert found.counts.summary() == (
        "read 2 pictures and 1 video, 0 failed, 3 skipped (1 hidden, 1 sub-folder (--recursive reads it), "
        "1 neither a picture nor a video);"
        " 5 frames, 10 faces, 0 faces beyond vision.max_people, 0 frames lost"
    )
    assert [each["source"] for each in Analyzed(reader, tmp_path, recursive=True).readings[:2]] == [
        str(tmp_path / "2024-11-30T10:30:00.mp4")
    ] * 2
    assert Analyzed(reader, tmp_path, recursive=True).counts.videos == 2


def test_a_file_name_does_not_decide_the_format(
    reader: Reader, tmp_path: Path, portrait: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    video = make_video(tmp_path / "a.mp4", [portrait] * 2).rename(tmp_path / "picture.jpg")
    still = saved(tmp_path, "video.mp4", encoded(portrait, ".jpg"))
    words = saved(tmp_path, "words.png", b"words")
    found = Analyzed(reader, video, still, words)
    assert [Path(each["source"]).name for each in found.readings] == ["picture.jpg"] * 2 + ["video.mp4"]
    assert "words.png: is neither a picture nor a video" in capsys.readouterr().err


def test_a_file_name_that_is_not_text(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    path = tmp_path / "a\n\udcff\x1b[31m.png"
    path.write_bytes(encoded(portrait, ".png"))
    assert Analyzed(reader, tmp_path).readings[0]["source"] == str(path)
    for form in ({"words": True}, {"csv": True}):
        lines = Analyzed(reader, tmp_path, **form).lines
        assert len(lines) == (3 if "csv" in form else 1), "one line per picture or face, whatever its name"
        assert "\\u000a" in lines[-1] and "\x1b" not in lines[-1]


def test_an_animation_is_a_video(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    frames = [Pillow.fromarray(np.ascontiguousarray(portrait[:, :, ::-1]))] * 3
    path = tmp_path / "a.gif"
    changed = frames[1].copy()
    changed.putpixel((0, 0), (255, 0, 0))
    frames[0].save(path, save_all=True, append_images=[changed, frames[2]], duration=[200, 300, 100])
    found = Analyzed(reader, path)
    assert [each["time_s"] for each in found.readings] == [0, 0.2, 0.5]
    assert [[face["id"] for face in each["faces"]] for each in found.readings] == [[1, 2]] * 3
    assert found.counts.videos == 1


# --- notes ---


BLACK = np.zeros((96, 160, 3), np.uint8)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (lambda n: BLACK, ": all of them are dark"),
        (lambda n: BLACK + 255, ": all of them are overexposed"),
        (lambda n: BLACK + 90, ": all of them show one plain colour"),
        (
            lambda n: np.random.default_rng(n).integers(0, 255, BLACK.shape, np.uint8),
            ": all of them show noise",
        ),
        (
            lambda n: np.repeat(np.linspace(60, 200, 160, dtype=np.uint8)[None, :, None], 96, 0).repeat(3, 2),
            "",
        ),
    ],
    ids=["black", "white", "one colour", "noise", "a slope"],
)
def test_a_video_without_a_face_gives_one_line(
    reader: Reader, tmp_path: Path, frame: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_video(tmp_path / "a.mp4", [frame(n) for n in range(10)], options={"crf": "28"})
    found = Analyzed(reader, path)
    assert (found.failed, len(found.readings), found.counts.faces) == (0, 10, 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"interview-grader: {path}: no face in 10 frames{said}"


def test_a_video_with_only_unreadable_faces_gives_one_line(
    reader: Reader, tmp_path: Path, portrait: Image, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_video(tmp_path / "a.mp4", [portrait // 12] * 5, options={"crf": "10"})
    found = Analyzed(reader, path)
    assert found.counts.faces > 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "no readable face in 5 frames" in line and "dark" in line


def test_a_video_with_a_face_gives_no_line(
    reader: Reader, demo_clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Analyzed(reader, demo_clip, every=100)
    assert capsys.readouterr().err == ""


def damaged_tiff() -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(noise(64, 48)).save(out, "TIFF", compression="jpeg")
    data = bytearray(out.getvalue())
    data[-3000:-2900] = b"\xff" * 100
    return bytes(data)


def damaged_jpeg() -> bytes:
    data = encoded(noise(320, 240), ".jpg")
    return data[: len(data) // 2] + data[len(data) // 2 + 1000 :]


@pytest.mark.parametrize(("name", "data"), [("a.tif", damaged_tiff()), ("a.jpg", damaged_jpeg())])
def test_messages_of_a_decoder_are_noted(
    reader: Reader, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, data: bytes
) -> None:
    found = Analyzed(reader, saved(tmp_path, name, data))
    assert found.failed == 0 and len(found.readings) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{name}: was read, but its decoder reported: " in line


# --- tables ---


def test_csv_has_one_row_for_each_face(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    saved(tmp_path, "a.png", encoded(portrait, ".png"))
    saved(tmp_path, "b.png", encoded(picture(100, 80), ".png"))
    table = Analyzed(reader, tmp_path, csv=True)
    rows = list(csv.DictReader(io.StringIO(table.out)))
    found = Analyzed(reader, tmp_path).readings
    assert [row["source"] for row in rows] == [str(tmp_path / name) for name in ("a.png", "a.png", "b.png")]
    for row, face in zip(rows, found[0]["faces"], strict=False):
        assert [float(row[f"box_{side}"]) for side in ("x", "y", "width", "height")] == face["box"]
        assert {name: float(row[name]) for name in EMOTIONS} == face["emotions"]
        assert {name: float(row[f"{name}_raw"]) for name in EMOTIONS} == face["emotions_raw"]
        assert {name: float(row[name]) for name in ("yaw", "pitch", "roll")} == face["pose"]
        assert (int(row["id"]), row["label"], row["dominant"]) == (
            face["id"],
            face["label"],
            face["dominant"],
        )
        assert (row["readable"], row["analysed"], row["reason"], row["head"]) == ("true", "true", "", "")
    last = rows[-1]
    assert (last["frame"], last["time_s"], last["width"], last["height"]) == ("0", "0.0", "100", "80")
    assert {last[name] for name in COLUMNS[5:]} == {""}


def test_the_csv_header_is_stable() -> None:
    assert ",".join(COLUMNS) == (
        "source,frame,time_s,width,height,id,box_x,box_y,box_width,box_height,score,analysed,readable,reason,"
        "label,dominant,angry,disgusted,fear,happy,sad,surprised,neutral,angry_raw,disgusted_raw,fear_raw,"
        "happy_raw,sad_raw,surprised_raw,neutral_raw,yaw,pitch,roll,head,body,nods,shakes,"
        "strength,baseline"
    )


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-a.png", "@a.png"])
def test_no_cell_is_a_formula(
    reader: Reader, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, name, encoded(picture(50, 50), ".png"))
    monkeypatch.chdir(tmp_path)
    (row,) = list(csv.DictReader(io.StringIO(Analyzed(reader, Path(name), csv=True).out)))
    assert row["source"] == f"'{name}"


def test_a_table_of_a_video_has_its_times_and_movements(
    reader: Reader, tmp_path: Path, portrait: Image
) -> None:
    path = make_video(tmp_path / "a.mp4", [portrait] * 15, rate=10)
    rows = list(csv.DictReader(io.StringIO(Analyzed(reader, path, csv=True).out)))
    assert [(row["frame"], row["time_s"]) for row in rows[::2]] == [(str(n), str(n / 10)) for n in range(15)]
    assert float(rows[-1]["head"]) < 0.1 and (rows[-1]["nods"], rows[-1]["shakes"]) == ("0", "0")


# --- summaries ---


def test_a_summary_has_the_time_in_view_of_each_person(
    reader: Reader, tmp_path: Path, portrait: Image
) -> None:
    times = [*(n / 10 for n in range(11)), *(1 + n / 2 for n in range(1, 5))]
    empty = picture(1280, 720, 90)
    path = make_video(tmp_path / "a.mp4", [*[portrait] * 11, *[empty] * 4], times=times)
    found = Analyzed(reader, path, summary=True).readings
    assert [row["id"] for row in found] == [1, 2]
    for row in found:
        assert row["source"] == str(path) and row["schema"] == 1
        assert row["length_s"] == pytest.approx(3.5, abs=0.01)
        assert (row["first_s"], row["last_s"]) == (0, 1.0) and row["frames"] == 11
        assert row["seen_s"] == pytest.approx(1.5, abs=0.01), "a frame lasts until the next one"
        assert sum(row["labels"].values()) == pytest.approx(1, abs=0.001)
        assert {*EMOTIONS, "unsure", "not_readable"} == set(row["labels"])
    first, _ = Analyzed(reader, path, summary=True, words=True).lines
    assert first.startswith(f"{path} person 1: seen for 1.5 of 3.5 s, labelled ") and "100 %" in first
    rows = list(csv.DictReader(io.StringIO(Analyzed(reader, path, summary=True, csv=True).out)))
    assert [(row["id"], row["seen_s"]) for row in rows] == [("1", "1.5"), ("2", "1.5")]
    assert float(rows[0]["happy"]) + float(rows[1]["happy"]) == sum(row["labels"]["happy"] for row in found)


def test_a_summary_without_a_face_and_of_a_picture(reader: Reader, tmp_path: Path, portrait: Image) -> None:
    saved(tmp_path, "a.png", encoded(portrait, ".png"))
    make_video(tmp_path / "b.mp4", [BLACK] * 4)
    saved(tmp_path, "c.png", b"no picture")
    found = Analyzed(reader, tmp_path, summary=True)
    assert found.failed == 1
    assert [(row["id"], row["frames"], row["seen_s"]) for row in found.readings] == [
        (1, 1, 0),
        (2, 1, 0),
        (None, 0, 0),
    ]
    assert found.readings[0]["labels"]["happy"] + found.readings[0]["labels"]["neutral"] == 1
    words = Analyzed(reader, tmp_path, summary=True, words=True).lines
    assert words[0].endswith("a.png person 1: labelled happy 100 %") and words[2].endswith("b.mp4: no face")


def test_a_damaged_video_gives_the_readings_before_the_damage(
    reader: Reader, tmp_path: Path, demo_clip: Path
) -> None:
    data = demo_clip.read_bytes()
    path = saved(tmp_path, "half.mp4", data[: len(data) // 2])
    found = Analyzed(reader, path, every=30, summary=True)
    assert found.failed == 1 and found.readings[0]["seen_s"] > 1


# --- several processes ---


@pytest.mark.parametrize(
    "options",
    [{}, {"csv": True}, {"words": True}, {"summary": True}, {"crops": True}],
    ids=["jsonl", "csv", "words", "summary", "crops"],
)
def test_several_processes_write_what_one_does(
    config: Config,
    tmp_path: Path,
    portrait: Image,
    demo_clip: Path,
    options: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c").mkdir()
    saved(tmp_path, "a.jpg", damaged_jpeg())
    saved(tmp_path, "b.jpg", b"no picture")
    saved(tmp_path / "c", "1.png", encoded(portrait, ".png"))
    saved(tmp_path, "notes.txt", b"words")
    for number in range(4):
        saved(tmp_path, f"d{number}.png", encoded(portrait[number * 50 :], ".png"))
    make_video(tmp_path / "e.mp4", [BLACK] * 5)
    half = demo_clip.read_bytes()[: demo_clip.stat().st_size // 2]
    paths = (demo_clip, tmp_path, tmp_path / "missing.png", saved(tmp_path / "c", "half.mp4", half), tmp_path)
    done = []
    for number in (1, 2):
        reader = make_reader(config)  # several processes close it
        found = Analyzed(reader, *paths, every=30, recursive=True, jobs=Jobs(number, config), **dict(options))
        reader.pipeline.close()
        done.append((found.out, found.counts.summary(), capsys.readouterr().err))
    assert done[0] == done[1]
    out, _, notes = done[0]
    assert out.count("\n") > 10 and "missing.png" in notes


@pytest.mark.parametrize("place", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_an_open_file_of_this_process_is_read_with_several_jobs(
    config: Config, reader: Reader, tmp_path: Path, portrait: Image, place: str
) -> None:
    data = encoded(portrait, ".png")
    ours, theirs = os.pipe()
    writer = threading.Thread(target=lambda: (os.write(theirs, data), os.close(theirs)))
    with open(ours, "rb") as file:
        writer.start()
        path = saved(tmp_path, "a.png", data)
        pipe = Path(place.format(file.fileno()))
        found = Analyzed(reader, pipe, path, jobs=Jobs(2, config))
        writer.join()
    assert found.failed == 0
    assert found.readings[0]["faces"] == found.readings[1]["faces"]
