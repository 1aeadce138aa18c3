"""A stand-in for systemctl and related tools: really starts and stops the daemon that `current` points to.

`make_tools` puts them into a folder for PATH. They store their state in another folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

START_S, STOP_S = 40.0, 12.0


def make_tools(folder: Path, root: Path, state: Path) -> None:
    """`systemctl` and related tools for the device in `root`, and a `dpkg-query` that has every package
    except those named in the file `absent`."""
    folder.mkdir()
    about = f"{root} {state} {folder}"
    tools = {
        "systemctl": f'exec {sys.executable} -I {__file__} {about} "$@"',
        "systemd-tmpfiles": "exit 0",
        "systemd-run": "exit 0",
        "udevadm": "exit 1",
        "journalctl": f"tail -n 1 {folder}/log",
        "dpkg-query": f'for name; do :; done; grep -qsxF "$name" {folder}/absent || printf installed',
    }
    for name, line in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


class Service:
    """The only unit."""

    def __init__(self, root: Path, state: Path, folder: Path) -> None:
        self._root, self._state, self._folder = root, state, folder
        self._status = folder / "status.json"

    def main(self, words: list[str]) -> int:
        """The answer of `systemctl`."""
        command, *rest = [word for word in words if word not in ("--quiet", "--value", "-p")]
        if command == "start":
            return self._start()
        if command == "stop" and rest in ([], ["interview-grader.service"]):
            return self._stop()
        if command == "show":
            messages = {"MainPID": str(self._pid()), "StatusText": self._messages().get("text", "")}
            print(messages[rest[0]] if self._pid() else {"MainPID": "0"}.get(rest[0], ""))
        if command == "is-active":
            return 0 if self._pid() else 3
        if command == "supervise":
            self._supervise()
        return 0

    def _start(self) -> int:
        if self._pid():
            return 0
        self._status.unlink(missing_ok=True)
        arguments = [sys.executable, "-I", __file__, str(self._root), str(self._state), str(self._folder)]
        null = subprocess.DEVNULL
        supervisor = subprocess.Popen(
            [*arguments, "supervise"], stdin=null, stdout=null, stderr=null, start_new_session=True
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._messages().get("ready"):  # with Type=notify systemd waits, whatever the status is
                return 0
            if supervisor.poll() is not None:
                return 1
            time.sleep(0.05)
        return 1

    def _supervise(self) -> None:
        """Run the daemon, and store its messages to the service manager."""
        address = str(self._folder / "notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address)
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener,
            (self._folder / "log").open("ab") as log,
        ):
            listener.bind(address)
            listener.settimeout(0.2)
            program = self._root / "current" / "venv" / "bin" / "interview-grader"
            own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            daemon = subprocess.Popen(
                [str(program), "run"],
                env={**own, "NOTIFY_SOCKET": address, "STATE_DIRECTORY": str(self._state)},
                stdout=log,
                stderr=log,
            )
            messages: dict[str, object] = {"pid": daemon.pid}
            self._save_messages(messages)
            while daemon.poll() is None:
                with contextlib.suppress(TimeoutError):
                    for line in listener.recv(4096).decode().splitlines():
                        name, _, value = line.partition("=")
                        if name == "STATUS":
                            messages["text"] = value
                        if line == "READY=1":
                            messages["ready"] = value
                    self._save_messages(messages)
            self._save_messages({})

    def _stop(self) -> int:
        pid = self._pid()
        deadline = time.monotonic() + STOP_S
        for number in (signal.SIGTERM, signal.SIGKILL):
            while pid and self._pid() and time.monotonic() < deadline:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                time.sleep(0.1)
            deadline += STOP_S
        return 0

    def _save_messages(self, messages: dict[str, object]) -> None:
        partial = self._status.with_suffix(".part")
        partial.write_text(json.dumps(messages))
        partial.replace(self._status)

    def _messages(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._status.read_text()))
        except (OSError, ValueError):
            return {}

    def _pid(self) -> int:
        return int(self._messages().get("pid", 0))


if __name__ == "__main__":
    sys.exit(Service(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])).main(sys.argv[4:]))
