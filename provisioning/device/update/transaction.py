"""Changes the running version in steps, and rolls a failed change back.

The link `current` decides which version starts; it is replaced atomically. Until `confirm` has found the new
version healthy, any interruption rolls the change back: see docs/decisions/0031-updates.md.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from device.bundle import container
from device.errors import BundleError, DeviceError, UserError, last_error
from device.layout import USER
from device.system import service
from device.system.sandbox import Sandbox
from device.system.shell import run
from device.system.status import RunningRelease
from device.update.journal import CHANGING, Change, Journal
from device.update.releases import Releases, version_key

STEPS = ("unpack", "install", "try", "stop", "records", "switch", "start", "confirm", "tidy")
"""Steps of an update after the bundle was verified; a rollback begins with `try`."""

UNDO_STEPS = ("undo-stop", "undo-switch", "undo-place", "undo-records", "undo-start", "undo-tidy")
"""Steps of rolling back a failed change. A release needs its own system files to read its records."""

KEEP = 2
"""How many releases stay: the current one and the previous one."""

_TRY_S = 600.0
_MEASURE_S = 7200.0  # includes building TensorRT engines, which takes minutes each
_ROOM = 50_000_000  # bytes, in addition to the release
_BYTECODE = 1.2  # size of an environment with compiled files, relative to its unpacked wheels


@dataclass(frozen=True)
class Device:
    """The device to update. `user`: of the service, "" for the caller.

    `healthy_s`, `steady_s`: seconds in which a release must become healthy, and then stay so.
    """

    releases: Releases
    state: Path
    signers: Path
    user: str = USER
    healthy_s: float = 60.0
    steady_s: float = 5.0


class Updater:
    """Makes one change at a time; the caller holds the lock. `on_step` is called before each step."""

    def __init__(
        self, device: Device, say: Callable[[str], None], on_step: Callable[[str], None] = lambda step: None
    ) -> None:
        self._device, self._releases = device, device.releases
        self._journal = Journal(device.releases.root / CHANGING)
        self._incoming = device.releases.root / "incoming"
        self._say, self._on_step = say, on_step

    def update(self, path: Path, *, now: bool) -> str:
        """Install a bundle and run it; returns a message. After a `DeviceError` everything is as before."""
        self._recover()
        current = self._current()
        release = container.verify(path, self._device.signers)
        if release.version == current and self._releases.metadata(current).files == release.files:
            return f"{current} is already running; nothing was changed"
        self._check_bundle(release, current, path)
        self._refuse_while_live(now)
        change = Change("update", current, release.version, added=release.version not in self._releases.all())
        with self._rolled_back_on_fault(change):
            self._step(change, "unpack", "unpacking")
            shutil.rmtree(self._incoming, ignore_errors=True)
            if container.unpack(path, self._device.signers, self._incoming) != release:
                raise BundleError(
                    f"{path}: was replaced during the update; copy it to a folder where only root can write"
                )
            self._step(change, "install", "creating its environment")
            self._releases.add(self._incoming)
            shutil.rmtree(self._incoming, ignore_errors=True)
            self._change(change, now=now)
        return f"updated from {current} to {release.version}"

    def roll_back(self, version: str, *, now: bool) -> str:
        """Run another installed release, "" for the one before; returns a message. Raises `DeviceError`."""
        self._recover()
        current = self._current()
        change = Change("rollback", current, version or self._previous(current))
        if change.new == current:
            return f"{current} is already running; nothing was changed"
        self._releases.metadata(change.new)
        self._refuse_while_live(now)
        with self._rolled_back_on_fault(change):
            self._change(change, now=now)
        return f"rolled back from {current} to {change.new}"

    def recover(self, *, boot: bool = False) -> str:
        """Finish an interrupted change or roll it back; returns a message. `boot`: starts no service.

        Raises `DeviceError` if a part of it failed; the next call tries again.
        """
        words, faults = self._recover(boot=boot)
        if faults:
            raise DeviceError(words)
        return words

    def prune(self) -> list[str]:
        """Remove all releases except the one in use and the newest other one; returns the removed ones."""
        self.recover()  # if that fails, no release is removed that it may need
        return self._releases.prune(KEEP)

    def _recover(self, *, boot: bool = False) -> tuple[str, list[str]]:
        """A message and the faults. Faults do not prevent a better version from being installed."""
        change = self._journal.read()
        if change is None:
            self._sweep()
            return "nothing was interrupted", []
        if change.step == "tidy" and not change.undo:
            self._tidy(change)
            return f"finished: {change.new} runs", []
        reason = change.undo or f"it was interrupted at step {change.step!r}"
        faults = self._undo(change, reason, "interrupted", boot=boot)
        return f"rolled back: {_outcome_message(reason, faults, f'{change.old} runs')}", faults

    # --- before anything is changed ---

    def _current(self) -> str:
        current = self._releases.current()
        if current is None:
            raise UserError(f"{self._releases.link}: nothing is installed; sudo ./setup.sh install")
        if gone := self._releases.python_mismatch():  # it cannot run, so a rollback would fail
            raise UserError(gone)
        return current

    def _previous(self, current: str) -> str:
        older = [version for version in self._releases.all() if version_key(version) < version_key(current)]
        if not older:
            raise UserError(f"no release older than {current} is installed; `list` shows the installed ones")
        return older[-1]

    def _check_bundle(self, release: container.Release, current: str, path: Path) -> None:
        machine, python = platform.machine(), self._releases.python_version()
        if release.arch != machine:
            raise BundleError(
                f"{path}: made for {release.arch}, but this device is {machine}; make one for it"
            )
        if release.python != python:
            raise BundleError(
                f"{path}: made for Python {release.python}, but this device has {python}; make one for it"
            )
        if version_key(release.version) <= version_key(current):
            raise BundleError(
                f"{path}: {release.version} is not newer than the current {current}; to go back: `rollback`"
            )
        needed = int(2 * path.stat().st_size + _BYTECODE * release.installed_bytes + _ROOM)
        free = shutil.disk_usage(self._releases.root).free
        if free < needed:
            raise BundleError(
                f"{self._releases.root}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed; "
                "make room, for example with `prune`"
            )

    def _refuse_while_live(self, now: bool) -> None:
        if not now:
            self._running().require_no_live_session()

    def _running(self) -> RunningRelease:
        current = self._releases.link.resolve()
        return RunningRelease(Sandbox(current, self._device.state, self._device.user))

    # --- the steps ---

    def _step(self, change: Change, step: str, words: str) -> None:
        self._journal.write(change, step=step)
        self._say(words)
        self._on_step(step)

    def _change(self, change: Change, *, now: bool) -> None:
        old, new = change.old, change.new
        self._step(change, "try", f"testing {new}: configuration, models, demo clip, a copy of the records")
        self._say(self._test(new))
        self._refuse_while_live(now)
        self._step(change, "stop", f"stopping {old}")
        service.schedule_recovery(self._releases.path(old))
        service.stop()
        self._measure(new)
        self._step(change, "records", "preparing the records")
        self._fit_records(new)
        self._step(change, "switch", f"switching to {new}")
        self._releases.switch(new)
        self._step(change, "start", f"starting {new}")
        self._run_as_root(new, "place")
        service.start()
        self._step(change, "confirm", f"waiting until {new} is healthy")
        self._running().wait_until_steady(self._device.healthy_s, self._device.steady_s)
        self._step(change, "tidy", "tidying up")
        with _signals_ignored():
            self._tidy(change)

    def _test(self, version: str) -> str:
        if lacking := self._run_as_root(version, "lacking").strip():
            raise UserError(f"{version} needs packages: sudo apt-get install {lacking}; then update again")
        self._run(version, "venv/bin/interview-grader", "check")
        return self._run(version, "venv/bin/python", "-m", "appliance.on_update", "try")

    def _measure(self, version: str) -> None:
        """Measure the engines if models or accelerators have changed. A failure is not fatal."""
        try:
            command = ("venv/bin/python", "-m", "appliance.on_update", "measure")
            if words := self._run(version, *command, limit_s=_MEASURE_S):
                self._say(words)
        except DeviceError as error:
            self._say(f"the engines were not measured: {error}")

    def _fit_records(self, version: str) -> None:
        if words := self._run(version, "venv/bin/python", "-m", "appliance.on_update", "fit"):
            self._say(words)

    def _run_as_root(self, version: str, command: str) -> str:
        """Run a command of a release's own updater as root; returns its output."""
        place = self._releases.path(version)
        return run(str(place / "venv/bin/python"), "-I", str(place / "provisioning/update"), command)

    def _tidy(self, change: Change) -> None:
        outcome = "updated" if change.kind == "update" else "rolled back"
        self._record_outcome(change.new, change, outcome, "")
        self._releases.prune(KEEP, spare=[change.old])
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._journal.clear()

    # --- rolling back ---

    @contextlib.contextmanager
    def _rolled_back_on_fault(self, change: Change) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            with _signals_ignored():
                self._roll_back(change, error)
        finally:
            service.cancel_recovery()

    def _roll_back(self, change: Change, error: BaseException) -> None:
        """Roll back a failed change, and raise `DeviceError` with the result."""
        reason = str(error) or f"it was interrupted ({type(error).__name__})"
        begun = self._journal.read()
        if begun and begun.step == "tidy":
            raise DeviceError(f"{reason}; {change.new} runs, the rest is done at the next boot") from error
        faults = self._undo(begun, reason, "failed", boot=False) if begun else []
        code = error.code if isinstance(error, DeviceError) else DeviceError.code
        raise RolledBack(_outcome_message(reason, faults, f"{change.old} runs as before"), code) from error

    def _undo(self, change: Change, reason: str, outcome: str, *, boot: bool) -> list[str]:
        """Try every undo step, whatever happens to the others: above all the link must be restored.

        Returns the faults. If there are any, the journal stays, and the next recovery tries again.
        """
        self._say(f"rolling back: {reason}")
        with contextlib.suppress(DeviceError):  # a full disk must not stop the rollback
            change = self._journal.write(change, undo=reason, outcome=change.outcome or outcome)
        faults: list[str] = []
        with _signals_ignored():
            if change.step in STEPS[STEPS.index("stop") :]:
                if not boot:
                    self._undo_step("undo-stop", faults, service.stop)
                self._undo_step("undo-switch", faults, lambda: self._releases.switch(change.old))
                self._undo_step("undo-place", faults, lambda: self._run_as_root(change.old, "place"))
                self._undo_step("undo-records", faults, lambda: self._fit_records(change.old))
                if not boot:
                    self._undo_step("undo-start", faults, service.start)
            self._undo_step("undo-tidy", faults, lambda: self._remove_new(change))
            self._record_outcome(change.old, change, change.outcome or outcome, "; ".join([reason, *faults]))
            if not faults:
                self._journal.clear()
        return faults

    def _remove_new(self, change: Change) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        if change.added:
            self._releases.remove(change.new)

    def _undo_step(self, step: str, faults: list[str], part: Callable[[], object]) -> None:
        self._on_step(step)
        try:
            part()
        except DeviceError as error:
            faults.append(str(error))
            self._say(str(error))

    def _sweep(self) -> None:
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._releases.sweep()

    # --- run by the release itself ---

    def _record_outcome(self, version: str, change: Change, outcome: str, reason: str) -> None:
        """Record the outcome for the page and the audit log. A failure stops nothing."""
        words = ("--version", version, "--wanted", change.new, "--outcome", outcome, "--reason", reason)
        try:
            self._run(version, "venv/bin/python", "-m", "appliance.on_update", "note", *words)
        except DeviceError as error:
            self._say(f"the outcome was not recorded: {error}")

    def _run(self, version: str, program: str, *arguments: str, limit_s: float = _TRY_S) -> str:
        """Run a program of a release in the sandbox; returns its last line of output, for a person."""
        release = self._releases.path(version)
        sandbox = Sandbox(release, self._device.state, self._device.user)
        # During a shutdown systemd starts no units and stops running ones, but a rollback must continue.
        undisturbed = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        try:
            done = sandbox.run_captured(
                str(release / program),
                *arguments,
                limit_s=limit_s,
                by_systemd=False if undisturbed else None,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"{program} of {version}: {error}") from error
        if done.returncode != 0:
            raise DeviceError(f"{version} failed: {last_error(done.stderr or done.stdout)}")
        return done.stdout.strip().rpartition("\n")[2]


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore shutdown and Ctrl-C in this process and its children: a partial rollback is no version.

    A shutdown that does not wait kills them; then the journal is left for recovery.
    """
    kept = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _outcome_message(reason: str, faults: list[str], well: str) -> str:
    if not faults:
        return f"{reason}; {well}"
    again = "it is tried again at the next boot, or run: sudo interview-grader-update recover"
    return f"{reason}; not everything could be rolled back ({'; '.join(faults)}); {again}"


class RolledBack(DeviceError):
    """The change was rolled back; the message names what could not be restored."""

    def __init__(self, words: str, code: int) -> None:
        super().__init__(words)
        self.code = code
