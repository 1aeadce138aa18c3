"""A device for update tests: real environments, the real daemon, a stand-in for systemctl."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from device.bundle import container, signing
from device.update.releases import Releases

from tests.fakes.systemctl import make_tools
from tests.machine import ROOT

OLD = "0.1.0"


class Device:
    """One device in a folder, on which the release `first` is installed; `python` makes its environments."""

    def __init__(self, folder: Path, key: Path, first: Path, python: str) -> None:
        self.root, self.state, self._tools = folder / "opt", folder / "state", folder / "tools"
        self.signers = folder / "signers"
        self.signers.write_text(signing.public_line(key))
        self.state.mkdir()
        make_tools(self._tools, self.root, self.state)
        self._python = python
        self.releases = Releases(self.root, python=python, system_packages=False)
        container.unpack(first, self.signers, folder / "first")
        self.releases.switch(self.releases.add(folder / "first"))
        shutil.rmtree(folder / "first")
        self.port = _free_port()
        self.settings = {
            "CAMERA__BACKEND": "demo",
            "CAMERA__NEEDS_AGREEMENT": "true",  # it analyses no one, which would slow the other tests down
            "WEB__PORT": str(self.port),
        }
        self._kept = folder / "kept"

    # --- the service ---

    def systemctl(self, *words: str) -> str:
        command = [str(self._tools / "systemctl"), *words]
        return subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False, timeout=60
        ).stdout.strip()

    def start(self) -> None:
        self.systemctl("start")
        assert self.runs(), self.log()

    def stop(self) -> None:
        self.systemctl("stop")

    def runs(self) -> str:
        """The version that answers on the network; "" if none does."""
        try:
            page = self.ask("/about")
        except OSError:
            return ""
        return page.rpartition("<p>Version ")[2].partition("<")[0]  # the foot, not the model card

    def is_healthy(self) -> bool:
        """Whether it is, or becomes so within some seconds."""
        for _ in range(100):
            try:
                return json.loads(self.ask("/healthz"))["status"] in ("ok", "idle")
            except OSError:
                time.sleep(0.1)
        return False

    def ask(self, path: str, data: dict[str, Any] | None = None) -> str:
        body = None if data is None else json.dumps(data).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=body, headers={"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=10) as answer:
            return str(answer.read().decode())

    def log(self) -> str:
        path = self._tools / "log"
        return path.read_text() if path.exists() else ""

    @contextlib.contextmanager
    def lacking(self, package: str) -> Iterator[None]:
        """The system without this package."""
        absent = self._tools / "absent"
        absent.write_text(f"{package}\n")
        yield
        absent.unlink()

    # --- the updater ---

    def updater(self, *arguments: str | Path, kill_at: str = "-") -> subprocess.CompletedProcess[str]:
        """Run it; it is killed when it enters the step `kill_at`."""
        return subprocess.run(self._command(arguments, kill_at), **self._how(), timeout=300, check=False)

    def update(self, path: Path, *more: str, kill_at: str = "-") -> subprocess.CompletedProcess[str]:
        return self.updater("update", path, *more, kill_at=kill_at)

    def killed_once(self, path: Path, happened: Callable[[], object]) -> None:
        """Start an update and kill it as soon as this has happened."""
        with subprocess.Popen(self._command(("update", path), "-"), **self._how()) as process:
            while not happened():
                assert process.poll() is None, "it ended before"
                time.sleep(0.005)
            process.kill()
            process.communicate()

    def _command(self, arguments: tuple[str | Path, ...], kill_at: str) -> list[str]:
        child = [sys.executable, "-m", "tests.fakes.updating_child"]
        return [*child, str(self.root), str(self.state), str(self.signers), kill_at, *map(str, arguments)]

    def _how(self) -> dict[str, Any]:
        path = f"{ROOT / 'provisioning'}:{ROOT}"
        environment = {**self._environment(), "PYTHONPATH": path, "TEST_PYTHON": self._python}
        return {
            "env": environment,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "cwd": ROOT,
            "umask": 0o077,  # as root's shell has it on some systems
        }

    def _environment(self) -> dict[str, str]:
        settings = {f"INTERVIEW_GRADER__{name}": value for name, value in self.settings.items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**kept, **settings, "PATH": f"{self._tools}:{os.environ['PATH']}"}

    def outcome(self) -> dict[str, str]:
        """The page's data about the last update."""
        return dict(json.loads((self.state / "update.json").read_text()))

    def left_over(self) -> list[str]:
        """Files that a finished update must not leave."""
        allowed = {"releases", "current", "update.lock"}
        half = [
            path.name for path in (self.root / "releases").iterdir() if path.name not in self.releases.all()
        ]
        trials = [path.name for path in self.state.glob("trial-*")] + [
            p.name for p in self.state.glob("*.fitting*")
        ]
        return [path.name for path in self.root.iterdir() if path.name not in allowed] + half + trials

    # --- everything ---

    def keep(self, what: str) -> None:
        """Remember the current state of its files."""
        for name in ("root", "state"):
            shutil.copytree(getattr(self, name), self._kept / what / name, symlinks=True)

    def put_back(self, what: str) -> None:
        """The files are unchanged, and nothing runs."""
        self.stop()
        for name in ("root", "state"):
            shutil.rmtree(getattr(self, name))
            shutil.copytree(self._kept / what / name, getattr(self, name), symlinks=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
