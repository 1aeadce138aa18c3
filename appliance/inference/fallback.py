"""An accelerator with the CPU as its fallback, and the circuit breaker that decides between them.

An accelerator can vanish or hang. After a failure the CPU runs the models, and the accelerator is used again
only after a successful probe. The probe is a separate process (`commands/probe_engine.py`), since hardware
that hangs also hangs its caller. The breaker saves its state in a file, so that the next start also begins
with the CPU.
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

BREAKER_FILE = "accelerator.json"
"""The file in the state directory in which the daemon saves the breaker's state."""

CALL_S = 1.0
"""A call that takes longer counts as hanging. The daemon ticks once a second and reports it within two."""

OPEN_S = 20.0
"""Opening that takes longer counts as hanging: a stick that was just plugged in first loads its firmware."""

_PROBE_S = 20.0
"""A probe that takes longer counts as hanging."""

_LONGEST_PAUSE_S = 3600.0
_TRUSTED_S = 3600.0
"""After working for this long, earlier failures no longer count."""


class CircuitBreaker:
    """Decides whether the accelerator may be used. Belongs to the thread that reads, except `mark_hung`."""

    def __init__(
        self,
        name: str,
        state_file: Path | None,
        health: Health | None,
        *,
        probe: Sequence[str],
        pause_s: float,
    ) -> None:
        """`state_file`: where failures are saved, None to save nothing. `probe`: the command that tests it.

        The first probe runs `pause_s` seconds after a failure. Each failure after a successful probe doubles
        the pause, since a stick may pass every probe and fail in use.
        """
        self.name = name
        self._state_file, self._health = state_file, health
        self._command, self._first_pause_s = probe, pause_s
        self._probe: subprocess.Popen[bytes] | None = None
        self._calling_since: float | None = None
        self._back_since = time.monotonic()
        self._fault = ""
        self.fault, self._failures = self._load()
        self._next_probe = time.monotonic() + self.pause_s
        if self.fault:
            log.warning(
                "%s failed before (%s); using the CPU; next probe in %.0f s",
                name,
                self.fault,
                self.pause_s,
            )

    @property
    def fault(self) -> str:
        """Why the accelerator is not used; "" while it is."""
        return self._fault

    @fault.setter
    def fault(self, reason: str) -> None:
        self._fault = reason
        if self._health:
            self._health.accelerator_failed = bool(reason)

    @property
    def pause_s(self) -> float:
        """Seconds from a failure to the next probe."""
        return max(
            self._first_pause_s, min(self._first_pause_s * 2.0 ** (self._failures - 1), _LONGEST_PAUSE_S)
        )

    def allow(self) -> bool:
        """Whether the accelerator may be used. Starts a probe when one is due, without waiting for it."""
        now = time.monotonic()
        if not self.fault:
            if self._failures and now - self._back_since > _TRUSTED_S:
                self._failures = 0
                self._save("", 0)
            return True
        if self._probe is None:
            if now >= self._next_probe:
                self._start_probe(now)
            return False
        code = self._probe.poll()
        if code is None and now < self._next_probe:
            return False
        self._end_probe()
        self._next_probe = now + self.pause_s
        if code != 0:
            return False
        log.warning("%s works again", self.name)
        self.fault, self._back_since = "", now
        self._save("", self._failures)
        return True

    def mark_failed(self, reason: str) -> None:
        """Use the CPU from now on."""
        if not self.fault:
            log.error("%s failed: %s; using the CPU", self.name, reason)
            self._trip(reason)
        self._next_probe = time.monotonic() + self.pause_s

    def mark_hung(self) -> None:
        """If a call hangs, let the next start begin with the CPU. May be called from any thread."""
        since = self._calling_since
        if since is not None and time.monotonic() - since > CALL_S:
            self._trip("a call hung")

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Guard one call: if it hangs, the daemon reports it and exits."""
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
    def guard_opening(self) -> Iterator[None]:
        """Guard opening, which holds Python's global lock: a hang ends the process, and is saved."""
        self._save("opening it hung", self._failures + 1)
        try:
            with native_limit(OPEN_S):
                yield
        finally:
            self._save("", self._failures)

    def close(self) -> None:
        """End a running probe. May be called twice."""
        self._end_probe()

    def _start_probe(self, now: float) -> None:
        nowhere = subprocess.DEVNULL
        try:
            self._probe = subprocess.Popen(self._command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
            self._next_probe = now + _PROBE_S
        except OSError as error:  # out of descriptors or processes
            log.warning("cannot probe %s: %s", self.name, error)
            self._next_probe = now + self.pause_s

    def _end_probe(self) -> None:
        if self._probe is not None:
            self._probe.kill()
            self._probe.wait()
            self._probe = None

    def _trip(self, reason: str) -> None:
        self.fault = reason
        self._failures += 1
        self._save(reason, self._failures)

    def _load(self) -> tuple[str, int]:
        """The fault, and the number of recent failures."""
        if self._state_file is None:
            return "", 0
        try:
            state = json.loads(self._state_file.read_bytes())
            return str(state["fault"]), int(state["faults"])
        except FileNotFoundError:
            return "", 0
        except (OSError, ValueError, KeyError, TypeError):
            return f"{self._state_file} cannot be read", 1

    def _save(self, fault: str, failures: int) -> None:
        if self._state_file is None:
            return
        try:
            if failures:
                write_private(self._state_file, json.dumps({"fault": fault, "faults": failures}).encode())
            else:
                self._state_file.unlink(missing_ok=True)
        except (StoreError, OSError) as error:  # the current run still knows the state
            log.error("%s", error)


class FallbackEngine:
    """One model on the accelerator while the breaker allows it, else on the CPU. Belongs to one thread."""

    def __init__(
        self, breaker: CircuitBreaker, open_accelerated: Callable[[], Engine], open_cpu: Callable[[], Engine]
    ) -> None:
        """Open the model on both. Raises what they raise, except the accelerator's `EngineError`."""
        self._breaker, self._open_accelerated = breaker, open_accelerated
        self._cpu = open_cpu()
        self.inputs, self.outputs = self._cpu.inputs, self._cpu.outputs
        self._accelerated = None if breaker.fault else self._try_to_open()

    @property
    def description(self) -> str:
        """What runs the model now, and the reason if it is the CPU."""
        if self._accelerated is not None and not self._breaker.fault:
            return self._accelerated.description
        return f"{self._cpu.description} instead of {self._breaker.name}: {self._breaker.fault}"

    def run(self, tensor: Tensor) -> list[Tensor]:
        """The outputs for one input; if the accelerator fails, the CPU's."""
        spec = self.inputs[0]
        fits = tensor.shape == spec.shape and tensor.dtype.name == spec.dtype
        accelerated = self._usable() if fits else None  # the CPU refuses a tensor that does not fit
        if accelerated is not None:
            try:
                with self._breaker.guard():
                    return accelerated.run(tensor)
            except EngineError as error:
                self._breaker.mark_failed(str(error))
                self._release()
        return self._cpu.run(tensor)

    def close(self) -> None:
        """Release both. May be called twice."""
        self._release()
        self._cpu.close()
        self._breaker.close()

    def _usable(self) -> Engine | None:
        if not self._breaker.allow():
            self._release()
        elif self._accelerated is None:
            self._accelerated = self._try_to_open()
        return self._accelerated

    def _try_to_open(self) -> Engine | None:
        try:
            with self._breaker.guard_opening():
                return self._open_accelerated()
        except EngineError as error:
            self._breaker.mark_failed(str(error))
            return None

    def _release(self) -> None:
        if self._accelerated is not None:
            self._accelerated.close()
            self._accelerated = None
