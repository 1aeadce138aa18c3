"""The command line: exit codes, one line for each mistake, and no traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import __version__
from appliance.cli import main
from appliance.configuration import layers, load
from tests.fakes.card import mounted
from tests.fakes.files import encoded
from tests.fakes.parts import noise, picture


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ignore this machine's configuration; restore signals afterwards."""
    for module in (layers, load):
        monkeypatch.setattr(module, "BOARD_FILE", tmp_path / "board.toml")
    monkeypatch.setattr(layers, "OWNER_FILE", tmp_path / "etc" / "config.toml")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


class Ran:
    """The result of one command."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        try:
            self.code: object = main([str(argument) for argument in arguments])
        except SystemExit as end:
            self.code = end.code
        captured = capsys.readouterr()
        self.out, self.err = captured.out, captured.err
        assert "Traceback" not in self.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "--version")
    assert (ran.code, ran.out) == (0, f"interview-grader {__version__}\n")


@pytest.mark.parametrize("command", ["run", "analyze", "check", "config", "bench"])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    ran = Ran(capsys, command, "--help")
    assert ran.code == 0
    assert "--config" in ran.out and "--set" in ran.out and "--data-dir" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nosuch"],
        ["run", "--nosuch"],
        ["analyze"],
        ["analyze", "--every", "0", "a.mp4"],
        ["analyze", "--every", "many", "a.mp4"],
        ["analyze", "--every", "²", "a.mp4"],
        ["config", "--set", "nonsense"],
        ["config", "--set", "web.port=-1"],
        ["config", "--config", "/nowhere/config.toml"],
        ["run", "--camera", "nosuch"],
        ["run", "--camera", "demo:x"],
        ["run", "--camera", "replay:/nowhere/clip.mp4"],
        ["run", "--host", ""],
        ["run", "--port", "many"],
        ["check", "--set", "vision.models=/nowhere"],
        ["check", "--set", "vision.detector=nosuch"],
    ],
    ids=" ".join,
)
def test_a_users_mistake_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    ran = Ran(capsys, *arguments)
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert line.startswith("interview-grader: ")
    assert ran.out == ""


def test_each_of_several_mistakes_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "config", "--set", "web.prot=1", "--set", "vision.threshold=9")
    assert ran.code == 2
    assert [line.split(":")[1].strip() for line in ran.err.splitlines()] == ["command line"] * 2
    assert "did you mean 'port'" in ran.err and "vision.threshold = 9" in ran.err


def test_a_line_stays_one_line_whatever_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "config", "--set", 'camera.backend="a\\nb"')
    assert ran.code == 2 and len(ran.err.splitlines()) == 1


def test_a_port_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = Ran(capsys, "run", "--camera", "demo", "--port", port)
    assert ran.code == 2
    (line,) = [line for line in ran.err.splitlines() if line.startswith("interview-grader: ")]
    assert str(port) in line


def test_config_prints_what_was_set(capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "config", "--changed", "--set", "web.port=9001")
    assert ran.code == 0 and ran.err == ""
    assert [line.split() for line in ran.out.split("\n") if line] == [
        ["[web]"],
        ["port", "=", "9001", "#", "command", "line"],
    ]


def test_check_shows_what_would_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ran = Ran(capsys, "check", "--set", "camera.backend=demo", "--data-dir", tmp_path / "here")
    assert ran.code == 0
    for word in (
        "blazeface_full_int8",
        "blazeface_short_int8",
        "expression_int8",
        "demo",
        str(tmp_path / "here"),
    ):
        assert word in ran.out
    assert any(runtime in ran.out for runtime in ("ai-edge-litert", "tflite-runtime"))
    assert not (tmp_path / "here").exists(), "check changes nothing"


def unwritable(kind: str, root: Path) -> Path:
    """A state directory that cannot be written, and why."""
    (root / "file").touch()
    return {
        "cannot be made": Path("/proc/nothing"),
        "two levels that cannot be made": Path("/proc/nothing/state"),
        "a file": root / "file",
        "below a file": root / "file/state",
        "kernel's own": Path("/proc/self"),
    }[kind]


@pytest.mark.parametrize("command", ["check", "run"])
@pytest.mark.parametrize(
    "kind", ["cannot be made", "two levels that cannot be made", "a file", "below a file", "kernel's own"]
)
def test_a_state_directory_that_cannot_be_written_is_a_fault(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str, kind: str
) -> None:
    state = unwritable(kind, tmp_path)
    ran = Ran(capsys, command, "--set", "camera.backend=demo", "--set", "web.port=0", "--data-dir", state)
    assert (ran.code, ran.out) == (1, "")
    (line,) = [line for line in ran.err.splitlines() if line.startswith("interview-grader: ")]
    assert str(state) in line and "expected a folder" in line and "--data-dir" in line


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_read_only_card_is_a_fault(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: str
) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    with mounted(folder, tmp_path / "image") as card:
        card.turn_read_only()
        for state in (folder, folder / "made/here"):
            ran = Ran(
                capsys, command, "--set", "camera.backend=demo", "--set", "web.port=0", "--data-dir", state
            )
            assert ran.code == 1 and "Read-only file system" in ran.err


def test_check_leaves_no_folder_behind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for place in ("there", "there/not/yet", "not/yet"):
        assert Ran(capsys, "check", "--set", "camera.backend=demo", "--data-dir", tmp_path / place).code == 0
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_analyze_counts_what_failed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(encoded(picture(60, 60), ".png"))
    assert Ran(capsys, "analyze", good).code == 0
    ran = Ran(capsys, "analyze", "--jsonl", tmp_path / "missing.jpg", good)
    assert ran.code == 1
    assert [json.loads(line)["source"] for line in ran.out.splitlines()] == [str(good)]
    line, last = ran.err.splitlines()
    assert line.startswith("interview-grader: ") and "missing.jpg" in line
    assert last.startswith("interview-grader: read 1 picture and 0 videos, 1 failed, 0 skipped; 1 frame, ")


@pytest.mark.slow
def test_without_jsonl_the_output_is_readable_text(
    capsys: pytest.CaptureFixture[str], demo_clip: Path
) -> None:
    ran = Ran(capsys, "analyze", "--every", "100000", demo_clip)
    assert ran.code == 0
    (line,) = ran.out.splitlines()
    assert line.startswith(f"{demo_clip} 0.00 s: ") and "happy" in line and "neutral" in line


def command(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in its own process, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "appliance", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


@pytest.mark.slow
def test_each_of_many_bad_files_is_one_line_and_nothing_else(tmp_path: Path, demo_clip: Path) -> None:
    """In its own process, because native libraries write messages past Python."""
    whole = {suffix: encoded(noise(64, 48), suffix) for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff")}
    bad = {f"cut{suffix}": data[: len(data) * 2 // 3] for suffix, data in whole.items()}
    huge = bytearray(whole[".png"])
    huge[16:24] = (30_000).to_bytes(4, "big") * 2
    bad |= {"empty.jpg": b"", "text.jpg": b"hello", "huge.png": bytes(huge), "text.mp4": b"hello\n" * 99}
    clip = demo_clip.read_bytes()
    bad |= {"empty.mp4": b"", "tail.mp4": clip[len(clip) // 2 :]}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    good = tmp_path / "good.jpg"
    good.write_bytes(whole[".jpg"])
    ran = command("analyze", "--jsonl", *(tmp_path / name for name in bad), good)
    assert ran.returncode == 1
    assert [json.loads(line)["source"] for line in ran.stdout.splitlines()] == [str(good)]
    *lines, last = ran.stderr.splitlines()
    assert f"{len(bad)} failed" in last
    assert [line.split(": ")[:2] for line in lines] == [
        ["interview-grader", str(tmp_path / name)] for name in bad
    ]
    assert all("expected" in line for line in lines)


@pytest.mark.slow
def test_a_closed_pipe_is_not_a_fault(demo_clip: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "appliance", "analyze", "--jsonl", str(demo_clip)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.readline().startswith('{"schema": 1')
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(30) == 0


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    ran = command("check", "--debug", "--set", "vision.detector=x", env=os.environ | {"HOME": str(tmp_path)})
    assert ran.returncode != 0 and "Traceback" in ran.stderr and "ModelError" in ran.stderr


def test_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "appliance", "config"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left on device" in line


def closing(redirection: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """The command with a stream closed, as a shell closes it."""
    line = f'exec "$0" -m appliance "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", line, sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def test_a_closed_standard_output_is_one_line() -> None:
    done = closing(">&-", "config")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("interview-grader: ") and "standard output is closed" in line


@pytest.mark.slow
def test_a_closed_standard_error_affects_nothing_else() -> None:
    done = closing("2>&-", "config")
    assert (done.returncode, done.stderr) == (0, "") and "[web]" in done.stdout
    assert closing("2>&-", "config", "--set", "web.port=-1").returncode == 2


@pytest.mark.slow
def test_with_all_streams_closed_a_model_is_not_written(demo_clip: Path) -> None:
    # A file that got the number of a closed stream would get what is written to that stream.
    assert closing("<&- >&- 2>&-", "analyze", "--every", "100000", str(demo_clip)).returncode == 2
    assert closing("<&- 2>&-", "check", "--set", "camera.backend=demo").returncode == 0


def test_a_missing_home_is_reported_in_one_line() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_STATE_HOME")}
    code = (
        "import sys, pwd; pwd.getpwuid = lambda uid: {}[uid]; sys.argv[0] = 'x'\n"
        "from appliance.cli import main; sys.exit(main(['config']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "--data-dir" in line
