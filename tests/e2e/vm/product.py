"""The product in the machine: its files on a disk, its daemon as a unit, its HTTP from here."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import cv2

from tests.e2e.vm.guest import Guest, until
from tests.machine import ROOT

STATE = "/var/lib/interview-grader"
_PORT = 8080
_PYTHON = "PYTHONPATH=/opt/product:/opt/site"


CLIP = "/opt/product/clip.mp4"
"""The demo clip, made smaller and slower for an emulated processor."""
_WIDTH, _HEIGHT, _EVERY = 426, 240, 6

BARE = '/bin/sh -- -c "mkdir -p /opt/product; mount -r /dev/vdb /opt/product; exec sh /opt/product/bare"'
"""Starts a minimal machine, fast even when emulated: no systemd, a network, a login."""
_BARE = f"""
mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /tmp && mkdir -p /run/sshd /dev/pts /dev/shm {STATE}
mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
[ ! -e /dev/vdc ] || mount /dev/vdc {STATE}
modprobe virtio_net
ip link set lo up; ip link set eth0 up; ip address add 10.0.2.15/24 dev eth0
exec /usr/sbin/sshd -D
"""


def product_folder(into: Path) -> Path:
    """The checkout's code and models, `CLIP`, and the start script of a minimal machine."""
    ignored = shutil.ignore_patterns("__pycache__", "build")
    for name in ("appliance", "models"):
        shutil.copytree(ROOT / name, into / name, ignore=ignored)
    (into / "bare").write_text(_BARE)
    _small_clip(into / "models/demo/demo.mp4", into / Path(CLIP).name)
    return into


def _small_clip(source: Path, into: Path) -> None:
    frames = cv2.VideoCapture(str(source))
    rate = frames.get(cv2.CAP_PROP_FPS) / _EVERY
    clip = cv2.VideoWriter(str(into), cv2.VideoWriter.fourcc(*"mp4v"), rate, (_WIDTH, _HEIGHT))
    number = 0
    while (found := frames.read())[0]:
        if number % _EVERY == 0:
            clip.write(cv2.resize(found[1], (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA))
        number += 1
    clip.release()
    frames.release()


def command(*words: str) -> str:
    """A shell line that runs the product's command in the machine, from its disk /dev/vdb."""
    return f"PYTHONPATH=/opt/product:/opt/site python3 -m appliance {' '.join(words)}"


def start_daemon(guest: Guest, *arguments: str) -> Daemon:
    """Start `run` and wait until it reports that it is ready."""
    lawful = "--set lawful.region=other --set lawful.purpose=practice"
    run = command("run", lawful, "--data-dir", STATE, *arguments)
    log = "/run/log"
    wait = f"for n in $(seq 600); do grep -q 'is ready' {log} && exit; sleep 0.5; done; cat {log}; exit 1"
    guest.run(f"{run} >{log} 2>&1 </dev/null & {wait}")
    return Daemon(guest, _PORT)


class Daemon:
    """The running daemon, queried over HTTP from the machine's own loopback, which needs no login."""

    def __init__(self, guest: Guest, port: int, *, tls: bool = False) -> None:
        self._guest, self._here, self._tls = guest, guest.forward(port), tls
        self.heard = 0.0
        """Unix seconds of the machine's clock, from its last answer."""

    def request(self, path: str, method: str = "GET", content: object = None) -> tuple[int, bytes]:
        """Status and body."""
        connection = self._connection()
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            content_read = answer.read()
            self.heard = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            return answer.status, content_read
        except OSError as error:
            log = self._guest.run("tail -n 40 /run/log; journalctl --no-pager -n 40 -o cat", check=False)
            raise AssertionError(f"{method} {path}: {error!r}; the machine's log:\n{log}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection("127.0.0.1", self._here, timeout=30)
        trusting = ssl.create_default_context()  # the certificate is self-signed
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self._here, timeout=30, context=trusting)

    def get(self, path: str) -> Any:
        """The JSON answer of a path."""
        status, body = self.request(path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def post(self, path: str, content: object = None) -> None:
        """Send a POST request, which must succeed."""
        status, body = self.request(path, "POST", content)
        assert status == 200, (path, status, body)

    def agree(self) -> None:
        """Start a session, as the operator does when one person has agreed to the notice."""
        version = self.get("/api/state")["notice"]["version"]
        self.post("/api/session/start", {"notice_version": version, "people": 1})

    def frame(self) -> int:
        """The number of the camera's newest frame."""
        return int(self.get("/api/state")["camera"]["frame"] or 0)

    def wait_camera(self, state: str, limit_s: float) -> None:
        """Wait until the camera has this state."""

        def reached() -> bool:
            return bool(self.get("/api/state")["camera"]["state"] == state)

        until(reached, limit_s, f"the camera is {state}")

    def wait_frames(self, count: int, limit_s: float) -> None:
        """Wait for this number of new frames."""
        first, end = self.frame(), time.monotonic() + limit_s
        while self.frame() < first + count:
            assert time.monotonic() < end, f"no {count} frames within {limit_s:g} s"
            time.sleep(0.2)
