"""`interview-grader-update`: take in a release bundle, roll back, list and remove releases."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from device import service
from device.faults import USER, DeviceError, Refused
from device.places import Places
from device.releases import Releases
from device.updating import Device, Updater

PROGRAM = "interview-grader-update"
COMMANDS = ("install", "rollback", "list", "prune", "recover", "place")
_ORPHANS_S = 60.0


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 done, 1 a fault and all is as before, 2 refused."""
    words = list(arguments)
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        words.insert(0, "install")  # a bundle
    options = _parser().parse_args(words)
    try:
        if options.command == "list":
            return _list(_device().releases)
        if os.geteuid() != 0:
            raise Refused("only root may change what runs; put sudo in front")
        if options.command == "place":  # asked for by the updater, of the release it switches to
            service.reload()
            return 0
        _prepare(Places().opt)
        say(_run(Updater(_device(), say), options))
        return 0
    except DeviceError as error:
        print(f"{PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"{PROGRAM}: {error}; make room or correct the place and try again", file=sys.stderr)
        return DeviceError.code


def say(words: str) -> None:
    """One line of progress; nothing stops when nobody listens any more."""
    with contextlib.suppress(OSError):
        print(f"update: {words}", flush=True)


def _run(updater: Updater, options: argparse.Namespace) -> str:
    if options.command == "install":
        return updater.update(options.bundle.absolute(), now=options.now)
    if options.command == "rollback":
        return updater.roll_back(options.version, now=options.now)
    if options.command == "prune":
        return f"removed: {' '.join(updater.prune()) or 'nothing'}"
    return updater.recover(boot=options.boot)


def _device() -> Device:
    places = Places()
    own = places.current / "venv" / "bin" / "python"
    python = os.path.realpath(own) if own.exists() else sys.executable
    return Device(Releases(places.opt, python=python), places.state, places.config / "release_signers")


def _list(releases: Releases) -> int:
    current = releases.current()
    for version in releases.all():
        note = releases.note(version)
        star = "*" if version == current else " "
        print(f"{star} {version:<12} {note.created}  {note.arch}  Python {note.python}")
    return 0


def _prepare(root: Path) -> None:
    """Take the lock, and outlive the terminal: a connection that breaks must not stop half-way."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    os.umask(0o022)  # the service's user reads what is installed, whatever the shell of root is set to
    if not root.is_dir():
        raise Refused(f"{root}: nothing is installed; sudo ./setup.sh install")
    # The lock is the standard input: what we start inherits it, so that after a kill nobody begins before the
    # last of them has ended.
    descriptor = os.open(root / "update.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    deadline = time.monotonic() + _ORPHANS_S
    while True:
        try:
            fcntl.flock(0, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Refused("another update is at work; wait until it has ended") from None
        time.sleep(0.2)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise DeviceError("it was told to stop")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):  # type: ignore[no-untyped-def]  # NoReturn
        self.exit(USER, f"{PROGRAM}: {message}; see {PROGRAM} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Update this device from a signed bundle, or go back.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="BUNDLE|COMMAND")
    now = _Parser(add_help=False)
    now.add_argument(
        "--now", action="store_true", help="also while a session is live or recording: it is stopped"
    )
    install = commands.add_parser("install", parents=[now], help="take in a bundle; the word may be left out")
    install.add_argument("bundle", type=Path, metavar="BUNDLE")
    rollback = commands.add_parser("rollback", parents=[now], help="run the release before, or another one")
    rollback.add_argument("version", nargs="?", default="", metavar="VERSION")
    commands.add_parser("list", help="the releases that are here; a star marks the one in use")
    commands.add_parser("prune", help="remove all releases but the one in use and one other")
    commands.add_parser("place")
    recover = commands.add_parser("recover", help="finish or take back what was interrupted")
    recover.add_argument("--boot", action="store_true", help="before the service is started")
    return parser
