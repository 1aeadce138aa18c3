"""The daemon that is measured, and its clients: each in a process of its own."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from appliance.configuration.page_file import PAGE_FILE
from appliance.errors import ApplianceError
from appliance.inference.fallback import BREAKER_FILE
from appliance.inference.ranking import RANKING_FILE
from appliance.system.native import self_command

PICTURES, READINGS = "/ws/pictures", "/ws/live"

_ALONE = (
    "web.host=127.0.0.1",
    "web.port=0",
    "web.redirect_port=0",
    "access.certificate=",
    "access.key=",
    "access.loopback=operator",
    "access.open_to_network=false",
    "lamps.backend=none",
    "session.button_pin=-1",
)
"""Settings of the measured daemon, so that it uses nothing that the device's own daemon may be using."""


@dataclass(frozen=True)
class Daemon:
    """A daemon in a process of its own. `start_s`: seconds until it served."""

    pid: int
    url: str
    start_s: float
    certificate: str = ""

    def usage(self, counter: str = "frames") -> tuple[float, float]:
        """Seconds of processor time, and the value of a counter of the metrics."""
        return _processor_s(self.pid), self._counter(counter)

    def connect(self) -> http.client.HTTPConnection:
        """A connection; with TLS it accepts the daemon's certificate only."""
        where = urlsplit(self.url).netloc
        if not self.certificate:
            return http.client.HTTPConnection(where, timeout=10)
        trust = ssl.create_default_context(cafile=self.certificate)
        trust.check_hostname = False  # it is pinned
        return http.client.HTTPSConnection(where, timeout=10, context=trust)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of an answer."""
        connection = self.connect()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def _counter(self, name: str) -> float:
        lines = (line.split() for line in self.get("/metrics")[1].splitlines())
        return next(float(line[1]) for line in lines if line[0] == f"interview_grader_{name}_total")


@contextmanager
def run_daemon(
    clip: Path, state: Path, arguments: Sequence[str], settings: Sequence[str] = (), certificate: str = ""
) -> Iterator[Daemon]:
    """The real daemon plays a clip. `arguments`: the owner's; `settings`: those that override everything.

    `certificate`: the PEM file of its certificate, if it uses TLS.
    """
    command = self_command("appliance", "run", "--camera", f"replay:{clip}")
    command += ["--data-dir", str(state), *arguments]
    command += [word for text in (*_ALONE, *settings) for word in ("--set", text)]
    began = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            start_s = time.monotonic() - began
            if "http" not in line:
                raise ApplianceError(f"the daemon did not start: {last_line(log)}")
            yield Daemon(process.pid, line.split()[-1], start_s, certificate)
        finally:
            process.terminate()


def last_line(log: TextIO) -> str:
    """The last line that a process wrote into its log."""
    log.seek(0)
    *_, last = ["no output; try: interview-grader run", *log.read().strip().splitlines()]
    return last.removeprefix("interview-grader: ")


@contextmanager
def copied_state(state: Path) -> Iterator[Path]:
    """A folder with the settings of the page and the state of the engines."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (PAGE_FILE, RANKING_FILE, BREAKER_FILE):
            if (state / name).exists():
                shutil.copyfile(state / name, Path(folder, name))
        yield Path(folder)


class _ClientProcess:
    """The process of the clients, whose cost is not the daemon's."""

    def __init__(self, process: subprocess.Popen[str], log: TextIO) -> None:
        self._process, self._log = process, log

    def wait(self) -> None:
        """Wait until each client has received something; raises `ApplianceError` if one is refused."""
        self._line()

    def received(self) -> float:
        """How many pictures or messages all clients have received."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return line
        self._process.wait()
        raise ApplianceError(f"a client failed: {last_line(self._log)}")


@contextmanager
def watching(daemon: Daemon, path: str, count: int) -> Iterator[_ClientProcess]:
    """`count` clients of a path, in a process of their own; each has received something."""
    command = self_command("appliance.commands.bench.clients", daemon.url, path, str(count))
    command += [daemon.certificate] if daemon.certificate else []
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            clients = _ClientProcess(process, log)
            clients.wait()
            yield clients
        finally:
            process.kill()


def _processor_s(pid: int) -> float:
    # Fields 14 and 15 of /proc/PID/stat: user and system time in ticks. The name before may have spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
