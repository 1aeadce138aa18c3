"""An accelerator that can vanish or hang: the CPU takes over, and it is taken back only after a probe.

The probe is a process of its own (`commands/probe_engine.py`), since a stick that hangs hangs its caller.
That it is not to be trusted is kept in a file, so that the next start takes the CPU as well.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import EngineError, StoreError
from appliance.health import Health
from appliance.ports import Engine
from appliance.system.files import write_private
from appliance.system.native import native_limit
from appliance.values import Tensor

log = logging.getLogger("appliance.accelerator")

CALL_S = 1.0
"""A call that takes longer hangs. With the daemon's tick of a second it is named within two."""

OPEN_S = 20.0
"""Opening that takes longer hangs: a stick just plugged in is first given its firmware."""

_PROBE_S = 20.0
"""A probe that takes longer hangs as well."""

_LONGEST_PAUSE_S = 3600.0
_TRUSTED_S = 3600.0
"""Taken back for so long, its faults are forgotten."""


class Accelerator:
    """Whether the accelerator may be used. It belongs to the thread that reads, but for `blame`."""

    def __init__(
        self, name: str, marker: Path | None, health: Health | None, *, probe: Sequence[str], every_s: float
    ) -> None:
        """`marker`: the file that says that it failed, None to keep nothing; `probe`: the command that tries
        it `every_s` seconds after a fault, and after twice as long each time that it had been taken back: a
        stick may pass every probe and fail in use.
        """
        self.name = name
        self._marker, self._health = marker, health
        self._command, self._every_s = probe, every_s
        self._probe: subprocess.Popen[bytes] | None = None
        self._calling_since: float | None = None
        self._back_since = time.monotonic()
        self._fault = ""
        self.fault, self._faults = self._kept()
        self._next = time.monotonic() + self.pause_s
        if self.fault:
            log.warning(
                "%s failed before (%s): the CPU is used until a probe succeeds, in %.0f s",
                name,
                self.fault,
                self.pause_s,
            )

    @property
    def fault(self) -> str:
        """Why it is not used; "" while it is."""
        return self._fault

    @fault.setter
    def fault(self, reason: str) -> None:
        self._fault = reason
        if self._health:
            self._health.accelerator_failed = bool(reason)

    @property
    def pause_s(self) -> float:
        """How long it is left alone before it is tried again."""
        return max(self._every_s, min(self._every_s * 2.0 ** (self._faults - 1), _LONGEST_PAUSE_S))

    def lost(self, reason: str) -> None:
        """It failed; the CPU is used from now on."""
        if not self.fault:
            log.error("%s failed: %s; the CPU is used from now on", self.name, reason)
            self._distrust(reason)
        self._next = time.monotonic() + self.pause_s

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around each call: one that hangs ends the daemon, which names it."""
        self._calling_since = time.monotonic()
        if self._health:
            self._health.heartbeat(self.name, CALL_S, "a call")
        try:
            yield
        finally:
            self._calling_since = None
            if self._health:
                self._health.remove_worker(self.name)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Around opening, which keeps Python's lock: if it hangs the process ends; the next start knows."""
        self._keep("opening it hung", self._faults + 1)
        try:
            with native_limit(OPEN_S):
                yield
        finally:
            self._keep("", self._faults)

    def blame(self) -> None:
        """Something hangs: if it is a call, the next start takes the CPU. May be called from any thread."""
        since = self._calling_since
        if since is not None and time.monotonic() - since > CALL_S:
            self._distrust("a call hung")

    def tried_again(self) -> bool:
        """Whether it may be used (again); starts a probe now and then, and never waits for one."""
        now = time.monotonic()
        if not self.fault:
            if self._faults and now - self._back_since > _TRUSTED_S:
                self._faults = 0
                self._keep("", 0)
            return True
        if self._probe is None:
            if now >= self._next:
                nowhere = subprocess.DEVNULL
                try:
                    self._probe = subprocess.Popen(
                        self._command, stdin=nowhere, stdout=nowhere, stderr=nowhere
                    )
                    self._next = now + _PROBE_S
                except OSError as error:  # no descriptor or process is free now
                    log.warning("%s cannot be tried now: %s", self.name, error)
                    self._next = now + self.pause_s
            return False
        code = self._probe.poll()
        if code is None and now < self._next:
            return False
        self._end_probe()
        self._next = now + self.pause_s
        if code != 0:
            return False
        log.warning("%s is back", self.name)
        self.fault, self._back_since = "", now
        self._keep("", self._faults)
        return True

    def close(self) -> None:
        """End a probe that is under way. May be called twice."""
        self._end_probe()

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.kill()
            self._probe.wait()
            self._probe = None

    def _kept(self) -> tuple[str, int]:
        """Its fault, and how often it failed of late."""
        if self._marker is None:
            return "", 0
        try:
            told = json.loads(self._marker.read_bytes())
            return str(told["fault"]), int(told["faults"])
        except FileNotFoundError:
            return "", 0
        except (OSError, ValueError, KeyError, TypeError):
            return f"{self._marker} cannot be read", 1

    def _distrust(self, reason: str) -> None:
        self.fault = reason
        self._faults += 1
        self._keep(reason, self._faults)

    def _keep(self, fault: str, faults: int) -> None:
        if self._marker is None:
            return
        try:
            if faults:
                write_private(self._marker, json.dumps({"fault": fault, "faults": faults}).encode())
            else:
                self._marker.unlink(missing_ok=True)
        except (StoreError, OSError) as error:  # known for this run at least
            log.error("%s", error)


class Accelerated:
    """One model on the accelerator while it may be used, on the CPU otherwise. Belongs to one thread."""

    def __init__(
        self, accelerator: Accelerator, fast: Callable[[], Engine], cpu: Callable[[], Engine]
    ) -> None:
        """`fast` and `cpu` open the model. Raises what they raise, but no `EngineError` of `fast`."""
        self._accelerator, self._open = accelerator, fast
        self._cpu = cpu()
        self.inputs, self.outputs = self._cpu.inputs, self._cpu.outputs
        self._fast = None if accelerator.fault else self._opened()

    @property
    def description(self) -> str:
        """What runs it now, and if it is the CPU, why."""
        if self._fast is not None and not self._accelerator.fault:
            return self._fast.description
        return f"{self._cpu.description} instead of {self._accelerator.name}: {self._accelerator.fault}"

    def run(self, tensor: Tensor) -> list[Tensor]:
        """The outputs for one input; a fault of the accelerator costs nothing but time."""
        spec = self.inputs[0]
        fits = tensor.shape == spec.shape and tensor.dtype.name == spec.dtype
        fast = self._usable() if fits else None  # what does not fit is refused by the CPU
        if fast is not None:
            try:
                with self._accelerator.watched():
                    return fast.run(tensor)
            except EngineError as error:
                self._accelerator.lost(str(error))
                self._let_go()
        return self._cpu.run(tensor)

    def close(self) -> None:
        """Let both go. May be called twice."""
        self._let_go()
        self._cpu.close()
        self._accelerator.close()

    def _usable(self) -> Engine | None:
        if not self._accelerator.tried_again():
            self._let_go()
        elif self._fast is None:
            self._fast = self._opened()
        return self._fast

    def _opened(self) -> Engine | None:
        try:
            with self._accelerator.opening():
                return self._open()
        except EngineError as error:
            self._accelerator.lost(str(error))
            return None

    def _let_go(self) -> None:
        if self._fast is not None:
            self._fast.close()
            self._fast = None
