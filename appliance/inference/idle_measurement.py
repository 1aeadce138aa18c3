"""Has the engines measured by a process of its own while no one uses the appliance."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO

from appliance.errors import SlotClosed

log = logging.getLogger("appliance.engines")

IDLE_S = 30.0
"""A measurement begins after the appliance was idle for this many seconds."""

_WAIT_S = 0.5


class IdleMeasurement:
    """Runs a measuring command once. A session ends it, and the next idle time starts it again.

    Its step belongs to one worker.
    """

    def __init__(
        self,
        command: Sequence[str],
        wait_until_used: Callable[[float], bool],
        pause: Callable[[float], object],
        *,
        idle_s: float = IDLE_S,
    ) -> None:
        """`command` prints one line if it measured, and nothing if no measurement was due.

        `wait_until_used`: waits up to some seconds until a session or a preview begins; whether one is on.
        `pause`: waits for some seconds or until the stop.
        """
        self._command, self._wait_until_used, self._pause = command, wait_until_used, pause
        self._idle_s = idle_s
        self._idle_since: float | None = None
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    def step(self) -> None:
        """Wait half a second, and start or end the measurement; raises `SlotClosed` once it is done."""
        if self._wait_until_used(_WAIT_S):
            self.close()
            self._idle_since = None
            self._pause(_WAIT_S)
            return
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        if self._process is None:
            if now - self._idle_since >= self._idle_s:
                self._start()
        elif self._process.poll() is not None:
            self._report(self._process.returncode)
            self.close()
            raise SlotClosed("the engines are measured")

    def close(self) -> None:
        """End a running measurement. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own processes too
            process.wait()
        if self._log is not None:
            self._log.close()

    def _start(self) -> None:
        try:
            self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            self.close()
            log.warning("the engines could not be measured: %s", error)
            raise SlotClosed("the engines cannot be measured") from error

    def _report(self, code: int) -> None:
        assert self._log is not None
        self._log.seek(0)
        *_, last = ["", *self._log.read().strip().splitlines()]
        if code:
            reason = last.removeprefix("interview-grader: ") or f"exit code {code}"
            log.warning("the engines could not be measured: %s", reason)
        elif last:
            log.info("%s from the next start on", last)
