"""Runs a command in a session with its own terminal, and relays between that and the caller's.

A process that has a terminal open can type into it (TIOCSTI), read what is typed, and send control sequences.
So where a standard stream is a terminal, the command gets its own terminal instead. Its output is shown with
control characters escaped. What is typed reaches it only while it asks for a password.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from device.text import printable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP)
"""Signals that are forwarded to the command."""

_LOOK_S = 0.02
_REST_S = 0.2  # for output that the system still buffers
_BYTES = 4096
_LFLAG = 3


def run_in_own_terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    forward: Callable[[int, int], None],
    *,
    answer: str | None = None,
    output: int | None = None,
) -> int:
    """Run it and return its exit code, 128 and the number for a signal.

    `forward` is called with a signal and the process. `answer`: what is typed whenever it asks for a
    password, None: what the caller types. `output`: a descriptor in place of the standard output.
    """
    _open_streams()
    own = [answer is not None or os.isatty(0), output is None and os.isatty(1), os.isatty(2)]
    terminal = _Terminal(answer) if any(own) else None
    streams = [0, 1 if output is None else output, 2]
    if terminal:
        slaves = (terminal.typed_at, terminal.shown_at, terminal.shown_at)
        streams = [slaves[number] if own[number] else streams[number] for number in range(3)]
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        start_new_session=True,
    )
    with _signals(lambda number: forward(number, process.pid)):
        if terminal:
            terminal.relay(process, shown_on=1 if own[1] else 2, typed=own[0] and answer is None)
        code = process.wait()
    return code if code >= 0 else 128 - code


class _Terminal:
    """The command's own two terminals, one for input and one for output, so that no answer is ever shown.

    systemd makes the input one the command's controlling terminal, so prompts may appear there too.
    """

    def __init__(self, answer: str | None) -> None:
        self._answer = None if answer is None else answer.encode() + b"\n"
        self._keys, self.typed_at = os.openpty()
        self._screen, self.shown_at = os.openpty()
        for slave in (self.typed_at, self.shown_at):
            mode = termios.tcgetattr(slave)
            mode[0] &= ~(termios.IXON | termios.ICRNL)
            mode[1] &= ~termios.OPOST
            mode[_LFLAG] &= ~(termios.ISIG | termios.IEXTEN)
            for key in (termios.VERASE, termios.VKILL) if answer is None else _EDITING:
                mode[6][key] = b"\0"
            termios.tcsetattr(slave, termios.TCSANOW, mode)
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(2, termios.TIOCGWINSZ, b"\0" * 8)
            fcntl.ioctl(self.shown_at, termios.TIOCSWINSZ, size)

    def relay(self, process: subprocess.Popen[bytes], *, shown_on: int, typed: bool) -> None:
        """Relay until the command has ended. `typed`: pass on what the caller types."""
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        with _Quiet(typed) as quiet:
            while process.poll() is None:
                quiet.follow(self._is_asking())
                sources = [self._screen, self._keys, *([0] if quiet.is_on else [])]
                ready = select.select(sources, [], [], _LOOK_S)[0]
                for source in (self._keys, self._screen):
                    data = os.read(source, _BYTES) if source in ready else b""
                    if data and (source == self._screen or typed):
                        quiet.follow(self._is_asking())  # before an answer is possible
                        _show(shown_on, decoder.decode(data.replace(b"\r\n", b"\n")))
                if 0 in ready:
                    os.write(self._keys, os.read(0, _BYTES) or b"\4")
                if self._answer and self._is_asking() and not self._waiting():
                    os.write(self._keys, self._answer)
        for slave in (self.typed_at, self.shown_at):
            os.close(slave)
        with contextlib.suppress(OSError):  # the rest of its output
            while select.select([self._screen], [], [], _REST_S)[0]:
                _show(shown_on, decoder.decode(os.read(self._screen, _BYTES)))
        for master in (self._keys, self._screen):
            os.close(master)

    def _is_asking(self) -> bool:
        """Whether the command reads without echo: a password."""
        return not termios.tcgetattr(self.typed_at)[_LFLAG] & termios.ECHO

    def _waiting(self) -> int:
        """Bytes that the command has not read yet."""
        return int(struct.unpack("i", fcntl.ioctl(self.typed_at, termios.FIONREAD, b"\0" * 4))[0])


_EDITING = (termios.VERASE, termios.VKILL, termios.VEOF, termios.VEOL, termios.VEOL2)
"""Characters by which a terminal edits a line: an answer may contain them."""


class _Quiet:
    """The caller's terminal, without echo while the command asks for a password."""

    def __init__(self, typed: bool) -> None:
        self._typed = typed
        self._before: list[Any] = []
        self.is_on = False

    def follow(self, asking: bool) -> None:
        """Turn echo off or on. A terminal that another command uses is left alone."""
        if not self._typed or asking == self.is_on or os.tcgetpgrp(0) != os.getpgrp():
            return
        if asking:
            mode, self._before = termios.tcgetattr(0), termios.tcgetattr(0)
            mode[_LFLAG] &= ~termios.ECHO
            termios.tcsetattr(0, termios.TCSAFLUSH, mode)
        else:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)
        self.is_on = asking

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, termios.error):
            self.follow(False)


def _show(stream: int, text: str) -> None:
    data = printable(text).encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError):  # the terminal is gone: a signal tells the command
        while data:
            data = data[os.write(stream, data) :]


@contextlib.contextmanager
def _signals(forward: Callable[[int], None]) -> Iterator[None]:
    """Forward signals, except those that the caller ignores, as after nohup."""

    def handle(number: int, frame: FrameType | None) -> None:
        forward(number)

    kept = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in kept.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _open_streams() -> None:
    """Give closed standard streams to the null device."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
