"""`evaluate` as a user runs it: small real pictures, exit codes, and the three kinds of report."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import pytest

from appliance.composition.reader import make_reader
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.values import EMOTIONS, Box, Image
from tests.e2e.daemon.driver import called, clean_environment, clip_frames, complaints
from tests.machine import ROOT

VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """A page's tags, all closed in order, and its references."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def frame(demo_clip: Path) -> Image:
    """Two faces, one neutral, one happy."""
    return clip_frames(demo_clip, 1)[0]


@pytest.fixture(scope="module")
def boxes(frame: Image, tmp_path_factory: pytest.TempPathFactory) -> list[Box]:
    """Where the faces are, from left to right."""
    config = load_config(ConfigOptions(data_dir=tmp_path_factory.mktemp("state")), {})
    reader = make_reader(config)
    found = [person.face.box for person in reader.pipeline.read_still(frame).people]
    reader.pipeline.close()
    assert len(found) == 2
    return found


@pytest.fixture
def crops(tmp_path: Path, frame: Image, boxes: list[Box]) -> Path:
    """Two classes with the same two faces in both, so that at least two of four labels are wrong."""
    folder = tmp_path / "set"
    for number, box in enumerate(boxes):
        cut = frame[int(box.y) : int(box.bottom), int(box.x) : int(box.right)]
        for label in ("Happiness", "neutral"):
            write(folder / label / f"<b>{number} & so on.png", cut)
    return folder


def write(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, image)
    assert done
    path.write_bytes(bytes(data))


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return called("evaluate", *arguments)


def rates(found: Any) -> list[dict[str, Any]]:
    """Every share anywhere in a report."""
    if isinstance(found, dict):
        inner = [rate for value in found.values() for rate in rates(value)]
        return [*inner, found] if {"hits", "of"} <= found.keys() else inner
    return [rate for each in found for rate in rates(each)] if isinstance(found, list) else []


def check_rates(found: Any) -> None:
    assert rates(found)
    for rate in rates(found):
        assert rate.keys() == {"hits", "of", "value", "low", "high"}
        if rate["of"]:
            assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
            assert rate["value"] == pytest.approx(rate["hits"] / rate["of"], abs=1e-6)
        else:
            assert rate["value"] is rate["low"] is rate["high"] is None


def test_text_json_and_page_of_crops(crops: Path, tmp_path: Path) -> None:
    places = tmp_path / "figures.json", tmp_path / "page.html"
    result = evaluate(crops, "--json", places[0], "--html", places[1])
    assert (result.returncode, complaints(result)) == (0, [])
    assert "read 4 pictures and 0 videos, 0 failed, 0 skipped; 4 frames, 4 faces" in result.stderr
    for word in ("accuracy", "macro-F1", "happy", "neutral", "confusion", "vision.unsure_below", "4 given"):
        assert word in result.stdout
    assert all(stat.S_IMODE(place.stat().st_mode) == 0o600 for place in places)

    found = json.loads(places[0].read_text())
    assert found.keys() == {
        "schema", "kind", "source", "models", "version", "mode", "pictures", "mistakes", "accuracy",
        "macro_f1", "macro_classes", "classes", "confusion", "calibration_error", "calibration", "coverage",
        "at_unsure",
    }  # fmt: skip
    assert (found["schema"], found["kind"], found["mode"]) == (1, "expressions", "crops")
    assert found["pictures"] == {"given": 4, "read": 4, "not_read": {}, "failed": 0, "repeated": 0}
    wrong = 4 - found["accuracy"]["hits"]
    assert wrong >= 2 and found["accuracy"]["of"] == 4 and found["macro_classes"] == 2
    assert [each["name"] for each in found["classes"]] == list(EMOTIONS)
    assert sum(map(sum, found["confusion"])) == 4
    assert len(found["calibration"]) == 10 and len(found["mistakes"]) == wrong
    assert found["models"].keys() == {"classifier"}
    check_rates(found)

    page = Page(places[1])
    assert "script" not in page.tags and page.tags.count("svg") >= 3
    assert len(page.addresses) == wrong
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert "contains pictures of people" in page.words
    assert "<b>1 & so on.png" in page.words and "b" not in page.tags, "names are escaped"


def test_a_page_without_pictures(crops: Path, tmp_path: Path) -> None:
    result = evaluate(crops, "--html", tmp_path / "page.html", "--no-pictures")
    assert result.returncode == 0
    page = Page(tmp_path / "page.html")
    assert page.addresses == [] and "img" not in page.tags
    assert "contains pictures of people" not in page.words and "most confident mistakes" in page.words


def test_json_alone_on_standard_output(crops: Path) -> None:
    result = evaluate(crops, "--json", "-")
    assert result.returncode == 0
    assert json.loads(result.stdout)["schema"] == 1


def test_pictures_that_cannot_be_opened_are_reported_and_the_rest_is_read(crops: Path) -> None:
    (crops / "sad").mkdir()
    bad = crops / "sad" / "bad.jpg", crops / "neutral" / "empty.png"
    bad[0].write_bytes(b"no picture")
    bad[1].write_bytes(b"")
    result = evaluate(crops, "--json", "-")
    assert result.returncode == 1
    lines = complaints(result)
    assert len(lines) == 2 and all(line.startswith("interview-grader: ") for line in lines)
    assert all(any(str(path) in line for line in lines) for path in bad)
    found = json.loads(result.stdout)
    assert found["pictures"] == {"given": 6, "read": 4, "not_read": {}, "failed": 2, "repeated": 0}
    assert found["accuracy"]["of"] == 4


def test_videos_and_other_files_in_a_set_are_reported(crops: Path, demo_clip: Path) -> None:
    (crops / "sad" / "anna").mkdir(parents=True)
    (crops / "sad" / "anna" / "clip").write_bytes(demo_clip.read_bytes())
    (crops / "sad" / "notes.txt").write_text("words")
    (crops / "sad" / ".x.png").write_bytes(b"")
    (crops / "sad" / "up").symlink_to(crops)  # its pictures are not sad
    result = evaluate(crops)
    assert result.returncode == 1
    (line,) = complaints(result)
    assert "sad/anna/clip: is a video; expected a picture" in line
    assert (
        "1 failed, 3 skipped (1 hidden, 1 neither a picture nor a video, 1 link to a folder)" in result.stderr
    )


def test_a_set_without_readable_pictures(tmp_path: Path) -> None:
    (tmp_path / "set" / "sad").mkdir(parents=True)
    (tmp_path / "set" / "sad" / "bad.jpg").write_bytes(b"no picture")
    result = evaluate(tmp_path / "set", "--json", tmp_path / "f.json", "--html", tmp_path / "p.html")
    assert result.returncode == 1 and len(complaints(result)) == 1
    assert json.loads((tmp_path / "f.json").read_text())["accuracy"]["value"] is None
    Page(tmp_path / "p.html")


def test_a_list_of_pictures_with_whole(tmp_path: Path, frame: Image, boxes: list[Box]) -> None:
    middle = frame.shape[1] // 2
    write(tmp_path / "left.png", frame[:, :middle])
    write(tmp_path / "right.png", frame[:, middle:])
    write(tmp_path / "empty.png", frame * 0)
    (tmp_path / "list.csv").write_text("path,label\nleft.png,neutral\nright.png,neutral\nempty.png,sad\n")
    places = tmp_path / "figures.json", tmp_path / "page.html"
    result = evaluate("--whole", tmp_path / "list.csv", "--json", places[0], "--html", places[1])
    assert (result.returncode, complaints(result)) == (0, [])
    found = json.loads(places[0].read_text())
    assert found["mode"] == "whole" and found["models"].keys() == {"detector", "classifier"}
    assert found["pictures"]["read"] == 2 and found["pictures"]["not_read"] == {"no face": 1}
    assert found["accuracy"]["hits"] == 1
    assert "1 without a readable face (1 no face)" in result.stdout
    assert len(Page(places[1]).addresses) == 1


def test_faces(tmp_path: Path, frame: Image, boxes: list[Box]) -> None:
    write(tmp_path / "both.png", frame)
    write(tmp_path / "empty.png", frame * 0)
    rows = [f"both.png,{box.x},{box.y},{box.width},{box.height}" for box in boxes]
    rows += ["both.png,5,5,20,20", "empty.png,,,,", "empty.png,,,,", "gone.png,,,,"]
    (tmp_path / "faces.csv").write_text("path,x,y,width,height\n" + "\n".join(rows) + "\n")
    places = tmp_path / "figures.json", tmp_path / "page.html"
    arguments = ("--json", places[0], "--html", places[1], "--set", "vision.max_people=1")
    result = evaluate("--faces", tmp_path / "faces.csv", *arguments)
    assert result.returncode == 1
    (line,) = complaints(result)
    assert "gone.png" in line
    found = json.loads(places[0].read_text())
    assert found.keys() == {
        "schema", "kind", "source", "models", "version", "pictures", "rule", "recall", "widths", "kinds",
        "found_boxes", "false_boxes", "false_per_picture", "pictures_with_false_boxes", "misses",
    }  # fmt: skip
    assert found["pictures"] == {"given": 3, "read": 2, "not_read": {}, "failed": 1, "repeated": 0}
    assert (found["recall"]["hits"], found["recall"]["of"]) == (2, 3), "max_people is for the live page"
    assert found["false_boxes"] == 0 and found["false_per_picture"] == 0
    assert found["misses"] == [
        {"picture": "both.png", "box": [5, 5, 20, 20], "share": pytest.approx(20 / 1280), "kind": "face"}
    ]
    check_rates(found)
    assert "0.5 to 2 times" in result.stdout and "under 2 %" in result.stdout
    page = Page(places[1])
    assert page.addresses == [] and "0.5 to 2 times" in page.words and "both.png" in page.words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{set}/nowhere"], ["nowhere", "expected"]),
        (["--faces", "{set}"], ["neither a .csv nor a .json"]),
        (["{set}", "--json", "/nowhere/x.json"], ["--json /nowhere/x.json", "folder is missing"]),
        (["{set}", "--html", "{set}"], ["--html", "is a folder"]),
        (["{set}", "--html", "-"], ["--html -", "name a file"]),
        (["{set}", "--json", "/tmp/x", "--html", "/tmp/x"], ["different files"]),
        (["{set}", "--faces", "--whole"], ["--whole"]),
        (["{set}", "--set", "vision.classifier=mine"], ["mine"]),
        ([], ["PATH"]),
    ],
)
def test_a_users_mistake_is_one_line_before_any_work(
    crops: Path, arguments: list[str], words: list[str]
) -> None:
    result = evaluate(*(text.format(set=crops) for text in arguments))
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("interview-grader: ")
    assert all(word in line for word in words), line


def test_every_unknown_class_is_one_line(crops: Path) -> None:
    for name in ("contempt", "boredom"):
        (crops / name).mkdir()
    result = evaluate(crops)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 2
    assert "contempt" in result.stderr and "boredom" in result.stderr


def test_several_processes_find_what_one_does(
    crops: Path, frame: Image, boxes: list[Box], tmp_path: Path
) -> None:
    (crops / "sad").mkdir()
    (crops / "sad" / "bad.jpg").write_bytes(b"no picture")
    write(tmp_path / "both.png", frame)
    lines = [f"both.png,{box.x},{box.y},{box.width},{box.height}" for box in boxes]
    (tmp_path / "faces.csv").write_text("\n".join(["path,x,y,width,height", *lines, "gone.png,,,,", ""]))
    for words in ([crops], [crops, "--whole"], ["--faces", tmp_path / "faces.csv"]):
        done = []
        for jobs in (1, 2):
            page = tmp_path / f"{jobs}.html"
            result = evaluate(*words, "--json", "-", "--html", page, f"--jobs={jobs}")
            done.append((result.returncode, result.stdout, result.stderr, page.read_text(encoding="utf-8")))
        assert done[0] == done[1]
        assert done[0][0] == 1 and json.loads(done[0][1])["pictures"]["failed"] == 1


def test_ctrl_c_ends_it_silently(crops: Path, tmp_path: Path) -> None:
    source = crops / "neutral" / "<b>0 & so on.png"
    for number in range(5000):
        os.link(source, crops / "neutral" / f"{number}.png")
    (crops / "Happiness" / "!.png").write_bytes(b"")  # the first one: its line shows that the work has begun
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "appliance", "evaluate"]
    with subprocess.Popen(
        # Background jobs ignore it, and their children inherit that.
        ["env", "--default-signal=INT", *command, str(crops), "--html", str(page)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None and "!.png" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert (out, err) == ("", "") and not page.exists()
