"""The commands: what they print, and where, so that scripts can rely on it."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance import __version__
from tests.e2e.daemon.driver import (
    called,
    clean_environment,
    clip_frames,
    command,
    complaints,
    make_clip,
    until,
)
from tests.e2e.daemon.driver_schema import check_reading
from tests.fakes.videos import video as make_video
from tests.machine import ROOT


@pytest.fixture(scope="module")
def frames(demo_clip: Path) -> list[Any]:
    """Ten frames of the demo clip: a smiling and a neutral face."""
    return clip_frames(demo_clip, 10)


@pytest.fixture
def pictures(tmp_path: Path, frames: list[Any]) -> Path:
    """A folder with two pictures of two faces, one without a face, and a file that is not a picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, image in (
        ("b.png", frames[0]),
        ("a.jpg", frames[9]),
        ("c.bmp", np.zeros((40, 60, 3), np.uint8)),
    ):
        assert cv2.imwrite(str(folder / name), image)
    (folder / "notes.txt").write_text("not a picture")
    return folder


def readings(*arguments: str | Path) -> list[Any]:
    """The output of `analyze --jsonl`: JSON lines and nothing else."""
    result = command("analyze", "--jsonl", *arguments)
    assert (result.returncode, complaints(result)) == (0, [])
    assert result.stdout.endswith("\n") or result.stdout == ""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("name", ["run", "analyze", "check", "config", "bench"])
def test_every_command_has_help(name: str) -> None:
    everything, one = called("--help"), called(name, "--help")
    assert re.search(rf"^ +{name} +\w", everything.stdout, re.MULTILINE)
    assert everything.returncode == one.returncode == 0
    assert one.stdout.startswith(f"usage: interview-grader {name}")
    assert everything.stderr == one.stderr == ""
    undescribed = [line for line in one.stdout.splitlines() if re.fullmatch(r"  --\w[\w-]*( \S+)?", line)]
    assert undescribed == [] or all(following_words(one.stdout, line) for line in undescribed)


def following_words(text: str, line: str) -> bool:
    after = text.split(line + "\n", 1)[1].splitlines()
    return bool(after) and after[0].startswith("     ")


def test_the_options_of_the_contract_exist() -> None:
    wanted = {
        "run": ["--config", "--camera", "--host", "--port", "--data-dir", "--set"],
        "analyze": [
            *("--crops", "--every", "--fps", "--recursive", "--jsonl", "--csv", "--summary", "PATH"),
            "--jobs",
        ],
        "config": ["--changed", "--config", "--set"],
        "check": ["--config", "--set"],
    }
    for name, options in wanted.items():
        text = called(name, "--help").stdout
        assert [option for option in options if option not in text] == []


def test_version() -> None:
    result = called("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"interview-grader {__version__}\n", "")


def test_installed_command_is_the_module() -> None:
    program = Path(sys.executable).with_name("interview-grader")
    result = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == f"interview-grader {__version__}\n"


def test_check_names_the_runtime_and_the_models() -> None:
    result = called("check")
    assert result.returncode == 0
    assert re.search(
        r"^detector .*blazeface.*(ai-edge-litert|tflite-runtime) \d", result.stdout, re.MULTILINE
    )
    assert re.search(r"^classifier .*(ai-edge-litert|tflite-runtime) \d", result.stdout, re.MULTILINE)
    assert re.search(r"^camera +\w", result.stdout, re.MULTILINE)
    assert re.search(r"camera: auto selected \w+ \(", result.stderr)


@pytest.mark.parametrize(
    ("answers", "used_for", "off"),
    [
        ({}, "not set yet", "lawful.region"),
        ({"region": "US", "purpose": "hiring"}, "hiring, US", ""),
        ({"region": "EU", "purpose": "practice"}, "not set yet", "lawful.institution"),
        (
            {"region": "EU", "purpose": "practice", "institution": "school"},
            "practice, EU, institution: school",
            "Article 5(1)(f)",
        ),
        (
            {"region": "EU", "purpose": "practice", "institution": "none"},
            "practice, EU, institution: none",
            "",
        ),
    ],
)
def test_check_shows_what_the_law_allows(
    tmp_path: Path, answers: dict[str, str], used_for: str, off: str
) -> None:
    settings = [word for key, value in answers.items() for word in ("--set", f"lawful.{key}={value}")]
    result = called("check", "--data-dir", tmp_path, *settings)
    assert result.returncode == 0, result.stderr
    assert re.search(rf"^used for +{re.escape(used_for)}$", result.stdout, re.MULTILINE), result.stdout
    analysis = re.findall(r"^analysis +off for cameras that show people: (.+)$", result.stdout, re.MULTILINE)
    assert len(analysis) == bool(off) and all(off in line for line in analysis), result.stdout


def test_config_prints_every_value_and_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[web]\nport = 8081\njpeg_quality = 70\n[camera]\nbackend = "demo"\n')
    (tmp_path / "config.d").mkdir()
    (tmp_path / "config.d" / "10-quality.toml").write_text("[web]\njpeg_quality = 60\n")
    state = tmp_path / "state"
    state.mkdir()
    (state / "page.toml").write_text('[lawful]\nregion = "EU"\n')
    arguments = ("--config", file, "--data-dir", state, "--set", "web.max_viewers=2")
    environment = {"INTERVIEW_GRADER__WEB__PORT": "8082"}
    result = called("config", *arguments, environment=environment)
    assert (result.returncode, result.stderr) == (0, "")
    found = parsed(result.stdout)
    assert found["web.port"] == ("8082", "environment")
    assert found["web.jpeg_quality"] == ("60", str(tmp_path / "config.d" / "10-quality.toml"))
    assert found["camera.backend"] == ('"demo"', str(file))
    assert found["lawful.region"] == ('"EU"', str(state / "page.toml"))
    assert found["web.max_viewers"] == ("2", "command line")
    assert found["web.host"] == ('"127.0.0.1"', "default")
    assert found["camera.loop"] == ("true", "default")

    changed = called("config", "--changed", *arguments, environment=environment)
    assert changed.returncode == 0
    assert parsed(changed.stdout) == {name: item for name, item in found.items() if item[1] != "default"}


def parsed(text: str) -> dict[str, tuple[str, str]]:
    """Section.key -> value and origin."""
    found, section = {}, ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            match = re.fullmatch(r"(\w+) = (.*?) +# (.*)", line)
            assert match, line
            found[f"{section}.{match[1]}"] = (match[2], match[3])
    return found


def test_config_can_be_read_back(tmp_path: Path) -> None:
    first = called("config", "--set", "web.port=8099", "--set", "camera.backend=demo")
    file = tmp_path / "config.toml"
    file.write_text(first.stdout)
    second = called("config", "--config", file)
    assert (second.returncode, second.stderr) == (0, "")
    values = {name: value for name, (value, _) in parsed(first.stdout).items()}
    assert {name: value for name, (value, _) in parsed(second.stdout).items()} == values


def test_analyze_reads_each_picture_alone(pictures: Path) -> None:
    found = readings(pictures, pictures / "b.png")
    # A folder's pictures in the order of their names; then the file again, as if it were the only one.
    assert [each["source"] for each in found] == [
        str(pictures / name) for name in ("a.jpg", "b.png", "c.bmp", "b.png")
    ]
    for each in found:
        check_reading(each, source=each["source"])
        assert (each["frame"], each["time_s"]) == (0, 0)
        assert [face["id"] for face in each["faces"]] == ([] if each["source"].endswith("c.bmp") else [1, 2])
        for face in each["faces"]:
            assert face["emotions"] == face["emotions_raw"]
    assert found[1] == found[3]
    assert (found[2]["width"], found[2]["height"]) == (60, 40)


def test_analyze_keeps_the_path_as_given(pictures: Path) -> None:
    relative = os.path.relpath(pictures, ROOT)
    assert readings(relative)[0]["source"] == os.path.join(relative, "a.jpg")
    assert readings(os.path.join(relative, "b.png"))[0]["source"] == os.path.join(relative, "b.png")


def test_analyze_follows_people_through_a_video(tmp_path: Path, frames: list[Any]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames, fps=20)
    found = readings(clip)
    assert [each["frame"] for each in found] == list(range(10))
    assert [each["time_s"] for each in found] == [pytest.approx(n / 20, abs=0.001) for n in range(10)]
    for each in found:
        check_reading(each, source=str(clip), size=(1280, 720))
        assert [face["id"] for face in each["faces"]] == [1, 2]
    assert any(face["emotions"] != face["emotions_raw"] for face in found[-1]["faces"])


def test_analyze_every_nth_frame(tmp_path: Path, frames: list[Any]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames, fps=20)
    assert [each["frame"] for each in readings("--every", "4", clip)] == [0, 4, 8]
    assert [each["frame"] for each in readings("--every", "100", clip)] == [0]


def test_analyze_does_not_carry_people_from_one_video_to_the_next(tmp_path: Path, frames: list[Any]) -> None:
    clips = [make_clip(tmp_path / name, frames[:3]) for name in ("one.mp4", "two.mp4")]
    found = readings(*clips)
    assert [[face["id"] for face in each["faces"]] for each in found] == [[1, 2]] * 6
    assert [each["faces"] for each in found[:3]] == [each["faces"] for each in found[3:]]


def test_analyze_crops_of_any_size(tmp_path: Path, frames: list[Any]) -> None:
    # The left face of the first frame, in unusual sizes.
    (left, _) = sorted(
        readings(picture(tmp_path / "whole.png", frames[0]))[0]["faces"], key=lambda f: f["box"][0]
    )
    x, y, width, height = (round(side) for side in left["box"])
    crops = {
        "face.png": frames[0][y : y + height, x : x + width],
        "dot.png": np.full((1, 1, 3), 90, np.uint8),
        "wide.png": np.full((3, 700, 3), 90, np.uint8),
        "grey.png": np.full((48, 48), 90, np.uint8),
    }
    paths = [picture(tmp_path / name, image) for name, image in crops.items()]
    found = readings("--crops", *paths)
    assert len(found) == len(crops)
    for path, image, each in zip(paths, crops.values(), found, strict=True):
        check_reading(each, source=str(path), size=(image.shape[1], image.shape[0]))
        (face,) = each["faces"]
        assert face["id"] == 1
        assert face["box"] == [0, 0, image.shape[1], image.shape[0]]
        assert face["emotions"] == face["emotions_raw"]
    assert found[0]["faces"][0]["dominant"] == "happy"


def picture(path: Path, image: Any) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def test_analyze_as_text(pictures: Path) -> None:
    result = command("analyze", pictures)
    assert (result.returncode, complaints(result)) == (0, [])
    assert result.stderr == (
        "interview-grader: read 3 pictures and 0 videos, 0 failed, 1 skipped"
        " (1 neither a picture nor a video);"
        " 3 frames, 4 faces, 0 faces beyond vision.max_people, 0 frames lost\n"
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    assert all(str(pictures) in line for line in lines)
    assert "happy" in lines[0] and "neutral" in lines[0] and "no face" in lines[2]


def test_analyze_shows_progress_only_on_a_terminal(pictures: Path) -> None:
    shown, stdout, code = on_terminal("analyze", "--jsonl", str(pictures))
    assert code == 0
    assert "/3 [" in shown and "file" in shown
    assert [json.loads(line)["frame"] for line in stdout.splitlines()] == [0, 0, 0]
    assert "source" not in shown

    result = command("analyze", "--jsonl", pictures)
    assert complaints(result) == []
    assert result.stdout == stdout


def test_analyze_shows_progress_inside_a_video(tmp_path: Path, frames: list[Any]) -> None:
    clip = make_clip(tmp_path / "a\rb.mp4", frames * 3, fps=20)
    shown, _, code = on_terminal("analyze", "--jsonl", str(clip))
    assert code == 0
    assert re.search(r"a\\u000db\.mp4: +\d+%\|.*\| \d+/30 \[", shown), "a name cannot move the cursor"


def test_analyze_reads_standard_input(tmp_path: Path, frames: list[Any], pictures: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames[:3], fps=20)
    for path, lines in ((pictures / "b.png", 1), (clip, 3)):
        wanted = [json.dumps(dict(each, source="-")) for each in readings(path)]
        for through in (f"cat '{path}' |", f"< '{path}'"):
            result = shell(f"{through} {PROGRAM} analyze --jsonl -")
            assert (result.returncode, result.stdout.splitlines()) == (0, wanted), result.stderr
            assert len(wanted) == lines
    result = shell(f"{PROGRAM} analyze --jsonl /dev/fd/3 3< <(cat '{clip}')")
    assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == ["/dev/fd/3"] * 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("printf ''", "is empty"),
        ("yes", "is neither a picture nor a video"),
        ("head -c 100 /dev/zero", "neither"),
    ],
)
def test_analyze_of_a_pipe_without_a_picture(given: str, said: str) -> None:
    result = shell(f"{given} | {PROGRAM} analyze -")
    (line,) = complaints(result)
    assert result.returncode == 1
    assert line.startswith("interview-grader: standard input: ") and said in line and "expected" in line


def test_analyze_of_a_terminal_as_input_does_not_wait() -> None:
    terminal, its_end = pty.openpty()
    try:
        result = subprocess.run(
            [sys.executable, "-m", "appliance", "analyze", "-"],
            cwd=ROOT,
            env=clean_environment(),
            stdin=its_end,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(terminal)
        os.close(its_end)
    (line,) = complaints(result)
    assert result.returncode == 1 and "is a terminal" in line


PROGRAM = f"'{sys.executable}' -m appliance"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_analyze_uses_the_given_rate_for_a_stream_without_times(tmp_path: Path, frames: list[Any]) -> None:
    stream = make_video(tmp_path / "raw", frames[:4], kind="h264")
    assert [each["time_s"] for each in readings(stream)] == [0, 0.04, 0.08, 0.12]
    assert [each["time_s"] for each in readings("--fps", "10", stream)] == [0, 0.1, 0.2, 0.3]


def test_analyze_writes_a_table(pictures: Path) -> None:
    result = command("analyze", "--csv", pictures)
    assert complaints(result) == []
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["id"] for row in rows] == ["1", "2", "1", "2", ""]
    assert result.stdout.count("\n") == 6


def test_analyze_reports_bad_files_above_the_progress_bar(pictures: Path) -> None:
    shown, stdout, code = on_terminal("analyze", "--jsonl", str(pictures), "missing.png")
    assert code == 1
    assert "interview-grader: missing.png: " in shown
    assert len(stdout.splitlines()) == 3


def test_analyze_into_a_closed_pipe_is_not_a_fault(pictures: Path) -> None:
    many = [str(pictures)] * 30
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "analyze", "--jsonl", *many],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read().decode()
        process.wait(60)
    assert complaint == ""


def children(process: int) -> list[int]:
    """The processes of `analyze` that read."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    lines = {int(each): Path(f"/proc/{each}/cmdline").read_bytes() for each in found}
    return [each for each, line in lines.items() if b"spawn_main" in line]


@contextlib.contextmanager
def reading_endlessly(pictures: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """`analyze` with two processes that have begun and do not end soon, and the two."""
    command = [sys.executable, "-m", "appliance", "analyze", "--jobs=2", *[str(pictures)] * 2000]
    with subprocess.Popen(
        # Background jobs ignore it, and their children inherit that.
        ["env", "--default-signal=INT", *command],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process, children(process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def is_gone(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_ctrl_c_ends_every_process_of_analyze_silently(pictures: Path) -> None:
    with reading_endlessly(pictures) as (process, workers):
        assert len(workers) == 2
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        _, complaint = process.communicate(timeout=30)
        assert (process.returncode, complaint) == (130, "")
        until(lambda: all(map(is_gone, workers)), 10, "the end of the processes")


def test_the_processes_of_analyze_end_with_it(pictures: Path) -> None:
    with reading_endlessly(pictures) as (process, workers):
        process.kill()
        process.wait(30)
        until(lambda: all(map(is_gone, workers)), 10, "the end of the processes")


def test_a_killed_process_of_analyze_is_one_error(pictures: Path) -> None:
    with reading_endlessly(pictures) as (process, workers):
        os.kill(workers[0], signal.SIGKILL)
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 1
        (line,) = complaint.splitlines()
        assert line.startswith(f"interview-grader: {pictures}") and "died (signal SIGKILL)" in line
        until(lambda: all(map(is_gone, workers)), 10, "the end of the processes")


def test_the_processes_of_analyze_run_no_module_of_the_current_folder(pictures: Path) -> None:
    for name in ("multiprocessing", "signal", "appliance", "cv2"):
        (pictures / f"{name}.py").write_text("print('a stranger')\nraise SystemExit(3)\n")
    program = Path(sys.executable).with_name("interview-grader")
    result = subprocess.run(
        [program, "analyze", "--jsonl", "--jobs=2", "a.jpg", "b.png"],
        cwd=pictures,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, complaints(result)) == (0, [])
    assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == ["a.jpg", "b.png"]


def on_terminal(*arguments: str) -> tuple[str, str, int]:
    """Run with a terminal as standard error; returns its text, standard output, and the exit code."""
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows and columns
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # on Linux: no program has the terminal open any more
                return
            if not data:
                return
            shown.extend(data)

    reader = threading.Thread(target=read)
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "appliance", *arguments],
            cwd=ROOT,
            env=clean_environment({"TERM": "xterm"}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=its_end,
        ) as process:
            os.close(its_end)
            reader.start()
            stdout, _ = process.communicate(timeout=60)
        reader.join(10)
    finally:
        os.close(terminal)
    return shown.decode(), stdout.decode(), process.returncode
