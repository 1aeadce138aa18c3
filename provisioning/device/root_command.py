"""`interview-grader`, run by root on an installed device: the command of the current release, sandboxed.

With another state directory (`--data-dir` or STATE_DIRECTORY) there is no sandbox.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from device.errors import FAULT, DeviceError, UserError
from device.layout import FAILURE_BLINKER, USER, Layout
from device.system import service, terminal
from device.system.sandbox import Sandbox, environment_settings, has_systemd, new_unit_name

PROGRAM = "interview-grader"
PASSPHRASE = "INTERVIEW_GRADER_PASSPHRASE"
"""Variable with a passphrase. Typed at the prompt, since systemd shows a unit's variables to everyone."""

_WITH_FILES = ("sessions", "backup", "restore", "audit", "access", "token")
"""Commands that take the caller's own files. They load nothing that a setting names."""

_OPEN = ("analyze", "evaluate", "--version")
"""Commands that read the caller's own pictures, with the caller's own settings and state."""

_VARIABLES = ("TERM", "LANG", "TZ", "NO_COLOR", "COLUMNS")


def main(words: Sequence[str], layout: Layout | None = None) -> int:
    """Returns the exit code of the command."""
    layout = layout or Layout()
    try:
        return _run(list(words), layout)
    except DeviceError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"{PROGRAM}: {error}; correct that and try again", file=sys.stderr)
        return DeviceError.code


def _run(words: list[str], layout: Layout) -> int:
    program = str(layout.current / "venv/bin/interview-grader")
    state = _named_state(words) or layout.state
    asked_only = not words or words[0] in _OPEN or "--help" in words or "-h" in words
    if asked_only or (state != layout.state and not _belongs_to_service(state)):
        os.execv(program, [program, *words])
    try:
        pwd.getpwnam(USER)
    except KeyError:
        raise UserError(f"user {USER} does not exist; create it with: sudo ./setup.sh install") from None
    sandbox = Sandbox(layout.current, state, USER, layout.root)
    answer = _passphrase(words)
    named = _pop_option(words, "-o") if words[:2] == ["sessions", "export"] else None
    with _free_lamp_pins(words[0]):
        if named is not None:
            return _write_file(
                Path(named), lambda output: _run_sandboxed(sandbox, [program, *words], answer, output)
            )
        return _run_sandboxed(sandbox, [program, *words], answer, None)


def _run_sandboxed(sandbox: Sandbox, words: list[str], answer: str | None, output: int | None) -> int:
    unit, booted, kind = new_unit_name(), has_systemd(), words[1]
    # lgpio creates a pipe in the working directory of a program that drives pins.
    pins = booted and kind == "run"
    folder = f"/run/{unit}" if pins else _current_folder()
    command = sandbox.command(
        words, unit, _environment(), folder=folder, sees_files=kind in _WITH_FILES, by_systemd=booted
    )
    if pins:
        command.insert(1, f"--property=RuntimeDirectory={unit}")

    def forward(number: int, process: int) -> None:
        sent = ("systemctl", "--quiet", "kill", f"--signal={signal.Signals(number).name}", unit)
        if booted and subprocess.run(sent, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, number)

    return terminal.run_in_own_terminal(command, dict(os.environ), forward, answer=answer, output=output)


def _current_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def _environment() -> dict[str, str]:
    """The caller's variables that the command gets: terminal, language and settings. No secrets."""
    kept = {name: os.environ[name] for name in os.environ if name in _VARIABLES or name.startswith("LC_")}
    return {**kept, **environment_settings()}


def _named_state(words: Sequence[str]) -> Path | None:
    """The state directory that the caller names, None without one."""
    for index, word in enumerate(words):
        if word == "--data-dir" and index + 1 < len(words):
            return Path(words[index + 1]).absolute()
        if word.startswith("--data-dir="):
            return Path(word.partition("=")[2]).absolute()
    named = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(named).absolute() if named else None


def _belongs_to_service(state: Path) -> bool:
    """Whether the service's user owns it."""
    try:
        return state.stat().st_uid == pwd.getpwnam(USER).pw_uid
    except (OSError, KeyError):
        return False


def _passphrase(words: list[str]) -> str | None:
    """The passphrase from a variable or a file, which only root may read.

    Removes `--passphrase-file` from `words`.
    """
    if words[0] not in ("backup", "restore"):
        return None
    given = os.environ.get(PASSPHRASE)
    if (file := _pop_option(words, "--passphrase-file")) is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--passphrase-file: cannot be read ({error}); name a file that contains the passphrase"
            ) from error
        given = lines[0] if lines else ""
    if given is not None and not given.isprintable():
        raise UserError("the passphrase contains a control character: expected one that can be typed")
    return given


def _pop_option(words: list[str], option: str) -> str | None:
    """Remove an option from `words` and return its value, None without it."""
    for index, word in enumerate(words):
        if word == option and index + 1 < len(words):
            _, value = words.pop(index), words.pop(index)
            return value
        if word.startswith(f"{option}=" if option.startswith("--") else option) and word != option:
            return words.pop(index).removeprefix(option).removeprefix("=")
    return None


def _write_file(path: Path, write: Callable[[int], int]) -> int:
    """Have a command write a file of the caller's, atomically. The service may not write there."""
    if path.exists() and not path.is_file():  # a pipe or a device
        with path.open("wb") as stream:
            return write(stream.fileno())
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        code = FAULT
        try:
            code = write(file.fileno())
        finally:
            if code:
                os.unlink(file.name)
    if not code:
        os.replace(file.name, path)
    return code


@contextlib.contextmanager
def _free_lamp_pins(kind: str) -> Iterator[None]:
    """Free the lamp pins for `run`: the failure blinker holds them."""
    blinks = kind == "run" and service.unit_property("ActiveState", FAILURE_BLINKER) == "active"
    if blinks:
        subprocess.run(["systemctl", "stop", FAILURE_BLINKER], check=False)
    try:
        yield
    finally:
        if blinks:
            subprocess.run(["systemctl", "--no-block", "start", FAILURE_BLINKER], check=False)
