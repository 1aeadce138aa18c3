"""The product in the machine: its files on a disk, its daemon as a unit, its HTTP from here."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from tests.machine import ROOT
from tests.system_vm.guest import Guest, until

STATE = "/var/lib/interview-grader"
_PORT, _READY_S = 8080, 180.0
_PYTHON = "PYTHONPATH=/opt/product:/opt/site"


def product_folder(into: Path) -> Path:
    """The checkout's code and models, as they are."""
    ignored = shutil.ignore_patterns("__pycache__", "build")
    for name in ("appliance", "models"):
        shutil.copytree(ROOT / name, into / name, ignore=ignored)
    return into


def command(*words: str) -> str:
    """A shell line that runs the product's command in the machine, from its disk /dev/vdb."""
    return f"{_PYTHON} python3 -m appliance {' '.join(words)}"


def mount_product() -> str:
    """A shell line that makes the product's files appear."""
    return "mkdir -p /opt/product && mount -o ro /dev/vdb /opt/product"


class Daemon:
    """`run` in the machine as a unit that notifies systemd, and HTTP to it through ssh."""

    def __init__(self, guest: Guest, *arguments: str) -> None:
        self._guest, self._arguments = guest, arguments
        self.heard = 0.0
        """Unix seconds of the machine's clock, from its last answer."""
        self._here = 0

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        lawful = "--set lawful.region=other --set lawful.purpose=practice"
        run = f"python3 -m appliance run {lawful} --data-dir {STATE} {' '.join(self._arguments)}"
        unit = "systemd-run --quiet --unit=grader --service-type=notify -p TimeoutStartSec=180"
        self._guest.run(f"{unit} -E {_PYTHON} {run} || {{ journalctl -u grader --no-pager; exit 1; }}")
        self._here = self._guest.forward(_PORT)

    def log(self) -> str:
        """What it logged."""
        return self._guest.run("journalctl -u grader --no-pager -o cat", check=False)

    def request(self, path: str, method: str = "GET", content: object = None) -> tuple[int, bytes]:
        """Status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self._here, timeout=30)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            content_read = answer.read()
            self.heard = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            return answer.status, content_read
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON that a path answers with."""
        status, body = self.request(path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def post(self, path: str, content: object = None) -> None:
        """POST what must succeed."""
        status, body = self.request(path, "POST", content)
        assert status == 200, (path, status, body)

    def agree(self) -> None:
        """Start as an operator does whom one person has told that they agree to the notice."""
        version = self.get("/api/state")["notice"]["version"]
        self.post("/api/session/start", {"notice_version": version, "people": 1})

    def frame(self) -> int:
        """The camera's newest frame's number."""
        return int(self.get("/api/state")["camera"]["frame"] or 0)

    def wait_camera(self, state: str, limit_s: float) -> None:
        """Until the camera's state is this one."""

        def reached() -> bool:
            return bool(self.get("/api/state")["camera"]["state"] == state)

        until(reached, limit_s, f"the camera is {state}")

    def wait_frames(self, count: int, limit_s: float) -> None:
        """Until so many more frames have come."""
        first, end = self.frame(), time.monotonic() + limit_s
        while self.frame() < first + count:
            assert time.monotonic() < end, f"no {count} frames within {limit_s:g} s: {self.log()}"
            time.sleep(0.2)
