"""The examples of docs/programs.md, as they stand, against a device with TLS and login."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from appliance.auth.tokens import Tokens
from appliance.system.resources import demo_clip
from tests.e2e.daemon.driver import clip_frames, running
from tests.machine import ROOT

PAGE = (ROOT / "docs/programs.md").read_text()
EXAMPLES = re.findall(r"^```(sh|python|js)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LIMIT_S = 60.0


def example(language: str, words: str) -> str:
    """The only example in this language that has these words."""
    (found,) = [text for kind, text in EXAMPLES if kind == language and words in text]
    return found


@dataclass(frozen=True)
class Program:
    """A folder with the certificate and pictures, and an environment as on the page."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    def written(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("program")
    for number, image in enumerate(clip_frames(demo_clip(), 3)):
        cv2.imwrite(str(folder / ("picture.jpg" if number == 0 else f"{number}.jpg")), image)
    device = folder / "device"
    with running(device, "--camera", "demo", "--set", 'access.loopback="login"') as daemon:
        tokens = Tokens(device / "state")
        shutil.copy(device / "state" / "tls-certificate.pem", folder)
        kept = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
        yield Program(
            folder,
            {
                **kept,
                "GRADER_URL": f"https://127.0.0.1:{daemon.port}",
                "ANALYZE_TOKEN": tokens.create("script", "analyze"),
                "VIEWER_TOKEN": tokens.create("dashboard", "viewer"),
            },
        )


def test_every_example_of_the_page_is_run_here() -> None:
    assert [kind for kind, _ in EXAMPLES] == ["sh", "python", "js", "python", "python"]
    assert all(len(text.splitlines()) <= 25 for _, text in EXAMPLES)


def test_curl(program: Program) -> None:
    done = program.run("sh", "-c", example("sh", "/api/analyze"))
    assert done.returncode == 0 and '"label"' in done.stdout and '"faces"' in done.stdout, done


def test_python_sends_a_picture(program: Program) -> None:
    script = program.written("picture.py", example("python", "requests"))
    done = program.run(sys.executable, script, "picture.jpg")
    assert done.returncode == 0 and re.match(r"1 \w+ .*'happy'", done.stdout), done
    refused = program.run(sys.executable, script, script)
    assert refused.returncode == 1 and "is not a picture" in refused.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_sends_a_picture(program: Program) -> None:
    script = program.written("picture.js", example("js", "fetch"))
    done = program.run("node", script, "picture.jpg", NODE_EXTRA_CA_CERTS="tls-certificate.pem")
    assert done.returncode == 0 and done.stdout.startswith("1 "), done
    refused = program.run("node", script, script, NODE_EXTRA_CA_CERTS="tls-certificate.pem")
    assert refused.returncode == 1 and "is not a picture" in refused.stderr


def test_python_sends_the_pictures_of_a_camera(program: Program) -> None:
    script = program.written("camera.py", example("python", "/ws/analyze"))
    done = program.run(sys.executable, script, "picture.jpg", "1.jpg", script, "2.jpg")
    assert done.returncode == 0, done
    assert [line.split()[0] for line in done.stdout.splitlines() if line.split()[1] == "1"] == ["0", "1", "3"]
    (problem,) = done.stderr.splitlines()
    assert problem.startswith("camera.py not a JPEG picture")


def test_python_follows_the_room(program: Program) -> None:
    script = program.written("room.py", example("python", "/ws/live"))
    with subprocess.Popen(
        [sys.executable, script],
        cwd=program.folder,
        env=program.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as room:
        assert room.stdout is not None
        time_s, number, label = room.stdout.readline().split()
        room.kill()
    assert float(time_s) >= 0 and int(number) >= 1 and label
