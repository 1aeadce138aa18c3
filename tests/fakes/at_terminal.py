"""Programs at a real terminal: `AtTerminal` types and reads; as a script, it is the program in root's shell.

usage: HOW WORD... ; HOW is `confined`, `by-systemd` (as systemd sets up a terminal), or `bare`: on the
caller's terminal, as in earlier versions.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path

USER = "nobody"
LIMIT_S = 30.0

ATTACK = """
import fcntl, os, sys, termios
for name in ("/dev/tty", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"):
    try:
        os.open(name, os.O_RDWR)
    except OSError:
        pass
for descriptor in range(64):
    try:
        fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
    except OSError:
        pass
for descriptor in range(64):
    for letter in b"id\\n":
        try:
            fcntl.ioctl(descriptor, termios.TIOCSTI, bytes([letter]))
        except OSError:
            pass
print("attacked as", os.getuid(), "with", open("/proc/self/status").read().partition("NoNewPrivs:")[2][1])
"""
"""Do what code of the service could try: type into every terminal that it can open."""


AS_SYSTEMD = """
import fcntl, os, sys, termios
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    mode = termios.tcgetattr(0)
    mode[0] |= termios.ICRNL | termios.IXON
    mode[1] |= termios.OPOST | termios.ONLCR
    mode[3] = termios.ISIG | termios.ICANON | termios.IEXTEN | termios.ECHO | termios.ECHOE | termios.ECHOK
    termios.tcsetattr(0, termios.TCSANOW, mode)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Do what systemd does before it runs a program: take over and reset the terminal."""


class AtTerminal:
    """A program with this controlling terminal."""

    def __init__(self, *words: str | Path, environment: dict[str, str] | None = None) -> None:
        self.shown = ""
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            try:
                for number in (signal.SIGINT, signal.SIGQUIT):  # a shell's background job ignores them
                    signal.signal(number, signal.SIG_DFL)
                os.execvpe(
                    str(words[0]), [str(word) for word in words], {**os.environ, **(environment or {})}
                )
            finally:
                os._exit(127)

    def wait_for(self, words: str) -> None:
        """Read until these words are shown."""
        deadline = time.monotonic() + LIMIT_S
        while words not in self.shown:
            assert time.monotonic() < deadline, f"{words!r} is not shown: {self.shown!r}"
            assert self._read(), f"{words!r} was not shown: {self.shown!r}"

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def code(self) -> int:
        """The exit code, once the program has ended; `shown` has its output."""
        while self._read():
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        """Read more output; False at the end."""
        with contextlib.suppress(OSError):  # the other end is closed
            if select.select([self._terminal], [], [], LIMIT_S)[0]:
                data = os.read(self._terminal, 4096)
                self.shown += data.decode("utf-8", "replace")
                return bool(data)
            os.kill(self._pid, signal.SIGKILL)
            raise AssertionError(f"it hangs: {self.shown!r}")
        return False


def main(how: str, *words: str) -> int:
    """Run it, then print what it typed into this terminal."""
    import subprocess

    from device.system import terminal
    from device.system.sandbox import Sandbox

    mode = termios.tcgetattr(0)
    mode[3] &= ~termios.ICANON
    termios.tcsetattr(0, termios.TCSANOW, mode)
    if how == "bare":
        before = ("setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", "--")
        code = subprocess.run([*before, *words], check=False).returncode
    else:
        confined = Sandbox(Path("/nowhere"), Path("/"), user=USER)
        command = confined.command(words, "none", json.loads(os.environ.get("GIVEN", "{}")), by_systemd=False)
        if how == "by-systemd":
            at = command.index(words[0])
            command[at:at] = ["/usr/bin/python3", "-I", "-c", AS_SYSTEMD]
        command[command.index(f"--regid={USER}")] = "--regid=nogroup"
        answer = os.environ.get("ANSWER")
        code = terminal.run_in_own_terminal(
            command, dict(os.environ), lambda number, process: os.killpg(process, number), answer=answer
        )
    (typed,) = struct.unpack("i", fcntl.ioctl(0, termios.FIONREAD, b"\0" * 4))
    echoes = bool(termios.tcgetattr(0)[3] & termios.ECHO)
    print(f"typed by it: {typed} bytes; echo: {echoes}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
