"""`interview-grader-update`: install a release bundle, roll back, list and remove releases, uninstall."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from device.arguments import Parser
from device.errors import DeviceError, UserError
from device.install import uninstall
from device.layout import Layout
from device.system import apply_release, board, lock
from device.text import printable
from device.update.releases import Releases
from device.update.transaction import Device, Updater

PROGRAM = "interview-grader-update"
COMMANDS = ("install", "rollback", "list", "prune", "uninstall", "recover", "place", "lacking")


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 done, 1 a fault (the message says which release runs), 2 refused."""
    words = list(arguments)
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        words.insert(0, "install")  # a bundle
    options = _parser().parse_args(words)
    try:
        if options.command == "list":
            return _list(_device().releases)
        if os.geteuid() != 0:
            raise UserError("only root may change releases; run this with sudo")
        if options.command == "place":  # this one and the next are for updaters of other releases
            apply_release.apply_release(Layout())
            return 0
        if options.command == "lacking":
            print(" ".join(apply_release.missing_packages()))
            return 0
        _prepare(Layout().opt, None if getattr(options, "wait", False) else lock.WAIT_S)
        if options.command == "uninstall":
            uninstall.uninstall(Layout(), check=options.check)
            return 0
        if options.command in ("install", "rollback") and board.has_overlay_root():
            raise UserError(board.OVERLAY_ROOT)
        say(_run(Updater(_device(), say), options))
        return 0
    except DeviceError as error:
        print(f"{PROGRAM}: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt as error:
        print(f"{PROGRAM}: {error or 'it was interrupted'}", file=sys.stderr)
        return DeviceError.code
    except OSError as error:
        print(f"{PROGRAM}: {error}; correct that and try again", file=sys.stderr)
        return DeviceError.code


def say(words: str) -> None:
    """Print one line of progress, if the terminal still exists."""
    with contextlib.suppress(OSError):
        print(f"update: {printable(words)}", flush=True)


def _run(updater: Updater, options: argparse.Namespace) -> str:
    if options.command == "install":
        return updater.update(options.bundle.absolute(), now=options.now)
    if options.command == "rollback":
        return updater.roll_back(options.version, now=options.now)
    if options.command == "prune":
        return f"removed: {' '.join(updater.prune()) or 'nothing'}"
    return updater.recover(boot=options.boot)


def _device() -> Device:
    layout = Layout()
    own = layout.current / "venv" / "bin" / "python"
    python = os.path.realpath(own) if own.exists() else sys.executable
    return Device(Releases(layout.opt, python=python), layout.state, layout.config / "release_signers")


def _list(releases: Releases) -> int:
    current = releases.current()
    for version in releases.all():
        note = releases.metadata(version)
        star = "*" if version == current else " "
        print(f"{star} {version:<12} {note.created}  {note.arch}  Python {note.python}")
    return 0


def _prepare(root: Path, wait_s: float | None) -> None:
    """Take the lock, and ignore hangups: a broken connection must not stop an update."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)
    os.umask(0o022)  # the service's user must be able to read installed files, whatever root's umask is
    if not root.is_dir():
        raise UserError(f"{root}: nothing is installed; sudo ./setup.sh install")
    lock.acquire(root / lock.NAME, wait_s)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt("it was stopped by a signal")


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description="Update this device from a signed bundle, or roll back.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="BUNDLE|COMMAND")
    now = Parser(add_help=False)
    now.add_argument(
        "--now", action="store_true", help="even while a session is live or recording; the session ends"
    )
    install = commands.add_parser("install", parents=[now], help="install a bundle; the word may be omitted")
    install.add_argument("bundle", type=Path, metavar="BUNDLE")
    rollback = commands.add_parser("rollback", parents=[now], help="run the previous release, or another one")
    rollback.add_argument("version", nargs="?", default="", metavar="VERSION")
    commands.add_parser("list", help="list the installed releases; * is the current one")
    commands.add_parser("prune", help="remove all releases but the current one and one other")
    uninstall = commands.add_parser("uninstall", help="remove everything but the owner's data")
    uninstall.add_argument("--check", action="store_true", help="only report what would be removed")
    commands.add_parser("place")
    commands.add_parser("lacking")
    recover = commands.add_parser("recover", help="finish or roll back an interrupted change")
    when = recover.add_mutually_exclusive_group()
    when.add_argument("--boot", action="store_true", help="at boot, before the service is started")
    when.add_argument("--wait", action="store_true", help="wait until another update has ended")
    return parser
