"""A user's mistake: one line with what, where and the next step, the right exit code, no traceback."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import socket
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.inference.manifest import Manifest
from appliance.values import Image
from tests.e2e.daemon.driver import (
    Daemon,
    called,
    clip_frames,
    command,
    complaints,
    free_port,
    running,
    until,
)
from tests.e2e.daemon.driver_schema import check_reading

# 32x24 pixels, cyan 0, magenta 255, yellow 255, black 0, by Pillow's JPEG encoder.
CMYK_JPEG = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAQCwwODAoQDg0OEhEQExgoGhgWFhgxIyUdKDozPTw5Mzg3QEhcTkBEV0U3OFBtUVdfYmdoZz5N"
    "cXlwZHhcZWdj/8AAFAgAGAAgBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAAH/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/a"
    "AA4EQwBNAFkASwAAPwCgJ+n6gAAAAAAAAAAAAAAA/9k="
)

Result = subprocess.CompletedProcess[str]


def one_fault(result: Result, *words: str, code: int = 2, counted: bool = False) -> None:
    """The command ended with this code and one line on standard error, which holds all these words.

    `counted`: it is one that reads files, and counts them in a further line.
    """
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    lines = complaints(result) if counted else result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("interview-grader: ")
    for word in words:
        assert word in lines[0], (word, lines[0])
    assert "Traceback" not in result.stderr


def run(*arguments: str | Path, folder: Path, **more: object) -> Result:
    return command("run", "--port", "0", "--data-dir", folder / "state", *arguments, limit_s=30, **more)


# --- replay ---


def missing(folder: Path, demo: Path) -> Path:
    return folder / "missing.mp4"


def empty(folder: Path, demo: Path) -> Path:
    return written(folder / "empty.mp4", b"")


def cut_in_its_head(folder: Path, demo: Path) -> Path:
    return written(folder / "cut.mp4", demo.read_bytes()[:1500])


def text(folder: Path, demo: Path) -> Path:
    return written(folder / "text.mp4", b"This is no video.\n" * 100)


def picture_cut_short(folder: Path, demo: Path) -> Path:
    return written(folder / "cut.jpg", encoded(".jpg", clip_frames(demo, 1)[0])[:20_000])


def text_as_picture(folder: Path, demo: Path) -> Path:
    return written(folder / "text.png", b"This is no picture.\n")


def folder_without_pictures(folder: Path, demo: Path) -> Path:
    (folder / "nothing").mkdir()
    written(folder / "nothing" / "readme.txt", b"no pictures here")
    return folder / "nothing"


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def encoded(suffix: str, image: Image) -> bytes:
    done, data = cv2.imencode(suffix, image)
    assert done
    return bytes(data)


BROKEN: list[Callable[[Path, Path], Path]] = [
    missing,
    empty,
    cut_in_its_head,
    text,
    picture_cut_short,
    text_as_picture,
    folder_without_pictures,
]


@pytest.mark.parametrize("make", BROKEN)
def test_replay_of_an_unplayable_file(
    make: Callable[[Path, Path], Path], tmp_path: Path, demo_clip: Path
) -> None:
    path = make(tmp_path, demo_clip)
    one_fault(run("--camera", f"replay:{path}", folder=tmp_path), str(path), "expected")


def test_replay_of_a_truncated_clip_is_reported(tmp_path: Path, demo_clip: Path) -> None:
    # Its head is intact and states 420 frames: it is played, but with a warning.
    path = written(tmp_path / "half.mp4", demo_clip.read_bytes()[: demo_clip.stat().st_size // 8])
    arguments = ("--camera", f"replay:{path}", "--set", "camera.loop=false", "--set", "camera.realtime=false")
    result = run(*arguments, folder=tmp_path)
    assert result.returncode in (0, 2)
    told = [line for line in result.stderr.splitlines() if line.startswith(("WARNING", "interview-grader"))]
    assert [line for line in told if path.name in line], result.stderr
    assert "Traceback" not in result.stderr


# --- analyze ---


def test_analyze_reads_the_good_files_and_reports_each_bad_one(tmp_path: Path, demo_clip: Path) -> None:
    frame = clip_frames(demo_clip, 1)[0]
    good = [
        written(tmp_path / name, encoded(Path(name).suffix, frame)) for name in ("a good.jpg", "z good.png")
    ]
    bad = [make(tmp_path, demo_clip) for make in BROKEN]
    bad.append(written(tmp_path / "half.mp4", demo_clip.read_bytes()[: demo_clip.stat().st_size // 8]))
    bad.append(written(tmp_path / "empty.jpg", b""))
    result = command("analyze", "--jsonl", good[0], *bad, good[1])
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    lines = complaints(result)
    assert len(lines) == len(bad), result.stderr
    for path in bad:
        (line,) = (line for line in lines if f"{path}:" in line)
        assert line.startswith("interview-grader: ") and "expected" in line, line
    readings = [json.loads(line) for line in result.stdout.splitlines()]
    for path in good:
        (reading,) = (each for each in readings if each["source"] == str(path))
        assert len(reading["faces"]) == 2
    # The frames before the cut are still written.
    assert {each["source"] for each in readings} <= {str(path) for path in (*good, tmp_path / "half.mp4")}


def test_analyze_of_one_bad_file_is_a_fault(tmp_path: Path) -> None:
    one_fault(command("analyze", tmp_path / "missing.jpg"), "missing.jpg", "expected", code=1, counted=True)


def test_analyze_of_a_video_as_crops_is_a_fault(demo_clip: Path) -> None:
    one_fault(command("analyze", "--crops", demo_clip), demo_clip.name, "expected", code=1, counted=True)


def test_unusual_pictures_are_read(tmp_path: Path, demo_clip: Path) -> None:
    frame = clip_frames(demo_clip, 1)[0]
    small = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    with_alpha = np.dstack([small, np.full(small.shape[:2], 200, np.uint8)])
    with_exif = encoded(".jpg", cv2.rotate(small, cv2.ROTATE_90_COUNTERCLOCKWISE))
    pictures = {
        "dot.png": (encoded(".png", np.zeros((1, 1, 3), np.uint8)), (1, 1), 0),
        "line.png": (encoded(".png", np.zeros((1, 500, 3), np.uint8)), (500, 1), 0),
        "large.jpg": (encoded(".jpg", np.zeros((9000, 12000), np.uint8)), (12000, 9000), 0),
        "grey.jpg": (encoded(".jpg", grey), (640, 360), 2),
        "cmyk.jpg": (CMYK_JPEG, (32, 24), 0),
        "deep.png": (encoded(".png", small.astype(np.uint16) * 257), (640, 360), 2),
        "deep_grey.tif": (encoded(".tif", grey.astype(np.uint16) * 257), (640, 360), 2),
        "alpha.png": (encoded(".png", with_alpha), (640, 360), 2),
        "turned.jpg": (with_exif[:2] + exif_orientation(6) + with_exif[2:], (640, 360), 2),
    }
    for name, (data, _, _) in pictures.items():
        written(tmp_path / name, data)
    result = command("analyze", "--jsonl", tmp_path)
    assert complaints(result) == []
    assert result.returncode == 0
    readings = {Path(each["source"]).name: each for each in map(json.loads, result.stdout.splitlines())}
    assert set(readings) == set(pictures)
    for name, (_, size, faces) in pictures.items():
        check_reading(readings[name], source=str(tmp_path / name), size=size)
        assert len(readings[name]["faces"]) == faces, name
        labels = [face["label"] for face in sorted(readings[name]["faces"], key=lambda face: face["box"][0])]
        assert labels in ([], ["happy", "neutral"]), (name, labels)


def test_picture_too_large_to_decode_is_refused(tmp_path: Path) -> None:
    # A PNG's head that states 60000x60000 pixels.
    head = bytearray(encoded(".png", np.zeros((1, 1, 3), np.uint8)))
    head[16:24] = (60000).to_bytes(4, "big") * 2
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, "big")
    path = written(tmp_path / "bomb.png", bytes(head))
    one_fault(command("analyze", path), "bomb.png", "60000x60000", "megapixels", code=1, counted=True)


def exif_orientation(value: int) -> bytes:
    """An APP1 segment with one entry: the orientation."""
    tiff = (
        b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0" + bytes([value, 0, 0, 0]) + b"\0\0\0\0"
    )
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


# --- the camera ---


def test_a_missing_camera_is_lost_and_ends_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "--camera", "usb:99") as daemon:
        assert daemon.start_session().status == 200
        camera = until(lambda: lost(daemon), 10, "lost")
        assert "/dev/video99" in camera["reason"]
        with (
            daemon.stream() as stream
        ):  # two pictures more than a second apart: it has tried again in between
            assert not any(part.live for part in stream.take(4))
        answer = daemon.request("/healthz")
        assert (answer.status, answer.json()["reason"]) == (503, "camera lost")
        assert len(daemon.log_lines("/dev/video99")) == 1, daemon.log
        assert "Traceback" not in daemon.log
        assert daemon.process.poll() is None


def lost(daemon: Daemon) -> dict[str, str] | None:
    camera = daemon.state()["camera"]
    return camera if camera["state"] == "lost" else None


if importlib.util.find_spec("picamera2") is None:

    def test_missing_camera_package_is_named(tmp_path: Path) -> None:
        one_fault(run("--camera", "csi", folder=tmp_path), "csi", "python3-picamera2", "apt")


# --- arguments and configuration ---


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--camera", "replai:x"], ["replai", "replay"]),
        (["--camera", "replay"], ["path"]),
        (["--camera", "replay:"], ["path"]),
        (["--camera", "demo:1"], ["demo:1", "no argument"]),
        (["--camera", "auto:1"], ["auto:1", "no argument"]),
        (["--port", "99999"], ["99999", "65535"]),
        (["--port", "http"], ["http", "port"]),
        (["--set", "web.prot=1"], ["web.prot", "'port'"]),
        (["--set", "wbe.port=1"], ["wbe", "'web'"]),
        (["--set", "web.port"], ["web.port", "SECTION.KEY=VALUE"]),
        (["--set", "port=1"], ["port=1", "SECTION.KEY=VALUE"]),
        (["--set", "web.port=-1"], ["web.port", "-1"]),
        (["--set", "web.jpeg_quality=high"], ["web.jpeg_quality", "high"]),
        (["--set", "camera.fps=1000"], ["camera.fps", "1000"]),
        (["--set", "vision.threshold=2"], ["vision.threshold", "2"]),
        (["--set", "engine.backend=tflight"], ["tflight", "tflite"]),
        (["--set", "lamps.backend=gpio"], ["gpio", "gpiozero"]),
        (["--camera", "demo", "--set", "vision.detector=yolo"], ["yolo", "blazeface"]),
        (["--camera", "demo", "--set", "vision.models=/nowhere"], ["/nowhere"]),
        (["--config", "/nowhere/config.toml"], ["/nowhere/config.toml"]),
        (["--frobnicate"], ["--frobnicate", "--help"]),
    ],
)
def test_wrong_argument(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    one_fault(run(*arguments, folder=tmp_path), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["COMMAND"]),
        (["walk"], ["walk", "run"]),
        (["analyze"], ["PATH"]),
        (["analyze", "--every", "0", "x.mp4"], ["'0'", "1"]),
        (["analyze", "--every", "often", "x.mp4"], ["often"]),
        (["analyze", "--fps", "0", "x.mp4"], ["'0'", "above 0"]),
        (["analyze", "--fps", "nan", "x.mp4"], ["'nan'", "above 0"]),
        (["analyze", "--csv", "--jsonl", "x.mp4"], ["--csv", "--jsonl", "not allowed"]),
        (["check", "--camera", "demo"], ["--camera"]),
    ],
)
def test_wrong_command_line(arguments: list[str], words: list[str]) -> None:
    one_fault(called(*arguments), *words)


def test_wrong_environment(tmp_path: Path) -> None:
    result = run(folder=tmp_path, environment={"INTERVIEW_GRADER__WEB__PROT": "1"})
    one_fault(result, "environment", "web.prot", "'port'")


def test_broken_toml_is_named_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path / "config.toml", b"[web]\nport = 8080\nhost = 127.0.0.1\n")
    one_fault(run("--config", path, folder=tmp_path), str(path), "line 3")


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = written(tmp_path / "config.toml", b"\xff\xfe\x00binary")
    one_fault(run("--config", path, folder=tmp_path), str(path), "TOML")


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    problems = b"[web]\nprot = 1\nmax_viewers = 0\n[camrea]\nfps = 1\n[vision]\nthreshold = 'x'\n"
    path = written(tmp_path / "config.toml", problems)
    result = called("config", "--config", path, "--set", "lamps.backend=led", "--set", "camera.fsp=1")
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 6, result.stderr
    for key, file in (
        ("web.prot", str(path)),
        ("web.max_viewers", str(path)),
        ("camrea", str(path)),
        ("vision.threshold", str(path)),
        ("lamps.backend", "command line"),
        ("camera.fsp", "command line"),
    ):
        assert [line for line in lines if key in line and file in line], key


def test_unavailable_lamps_are_a_user_error(tmp_path: Path) -> None:
    # Two lamps on one pin, on pins that exist everywhere.
    settings = ("lamps.backend=gpiozero", "lamps.factory=mock", "lamps.running=27", "lamps.camera=27")
    arguments = [part for text in settings for part in ("--set", text)]
    one_fault(run("--camera", "demo", *arguments, folder=tmp_path), "27", "lamps")


# --- models ---


@pytest.fixture
def own_models(models_dir: Path, tmp_path: Path) -> Path:
    """A copy of the models that a test may damage."""
    return Path(
        shutil.copytree(models_dir, tmp_path / "models", ignore=shutil.ignore_patterns("build", "demo"))
    )


def models_of(folder: Path) -> list[Path]:
    """The files of the default detector and classifier."""
    manifest = Manifest.load(folder)
    return [folder / model.file for model in (manifest.detector(""), manifest.classifier(""))]


@pytest.mark.parametrize("which", [0, 1])
def test_model_truncated(own_models: Path, tmp_path: Path, which: int) -> None:
    model = models_of(own_models)[which]
    model.write_bytes(model.read_bytes()[:-1000])
    setting = f"vision.models={own_models}"
    one_fault(run("--camera", "demo", "--set", setting, folder=tmp_path), str(model), "sha256", "restore")


def test_models_exchanged(own_models: Path) -> None:
    first, second = models_of(own_models)
    first.write_bytes(second.read_bytes())
    one_fault(called("check", "--set", f"vision.models={own_models}"), str(own_models), "sha256")


def test_model_missing(own_models: Path, tmp_path: Path) -> None:
    model = models_of(own_models)[0]
    model.unlink()
    one_fault(called("analyze", "--set", f"vision.models={own_models}", tmp_path), str(model), "restore")


def test_manifest_broken(own_models: Path) -> None:
    written(own_models / "manifest.toml", b"schema = \n")
    one_fault(called("check", "--set", f"vision.models={own_models}"), "manifest.toml", "line 1")


def test_port_in_use_by_another_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as sock:
        port = sock.getsockname()[1]
        result = command("run", "--camera", "demo", "--port", port, "--data-dir", tmp_path)
        one_fault(result, str(port), "another port")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = command("check", "--debug", "--set", "vision.models=/nowhere")
    assert "Traceback" in result.stderr
