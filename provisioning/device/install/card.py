"""`provisioning/card`: puts a release on a card that the Raspberry Pi Imager has written.

Runs on the owner's computer: only the standard library, without modules that only Unix has.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from device.arguments import Parser
from device.bundle import container
from device.errors import FAULT, DeviceError, UserError, explain
from device.install.cloud_config import with_command, with_name
from device.system import hostname
from device.system.files import replacing

PROGRAM = "card"
FOLDER = "interview-grader"
"""The folder on the boot partition, as provisioning/image/first-boot expects it."""

SETTINGS = "config.toml"
_FIRST_BOOT = Path(__file__).resolve().parents[2] / "image" / "first-boot"
_MACHINE = "aarch64"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 done, 1 a fault, 2 refused, with the card unchanged."""
    options = _parser().parse_args(arguments)
    try:
        _prepare_card(options.boot, options.bundle, options.signers, options.config)
    except DeviceError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"{PROGRAM}: {error.filename or options.boot}: {explain(error)}", file=sys.stderr)
        return FAULT
    return 0


def _prepare_card(boot: Path, release_bundle: Path, signers: Path, config: Path | None) -> None:
    """Check everything first, then write the files; the command in user-data comes last."""
    user_data, folder = boot / "user-data", boot / FOLDER
    if not user_data.is_file() and not (boot / "config.txt").is_file():
        raise UserError(
            f"{boot}: expected the card's boot partition (bootfs), which has config.txt; "
            "insert the card again and give the folder or drive where it appears"
        )
    release = container.verify(release_bundle, signers)
    merged, factory_name = None, ""
    if user_data.is_file():
        named, factory_name = with_name(_text(user_data, newline=""), hostname.NAME, hostname.FACTORY)
        merged = with_command(named)
    texts = {"first-boot": _text(_FIRST_BOOT), "release_signers": _text(signers)}
    if config is not None:
        texts[SETTINGS] = _settings(config)
        (folder / f"{SETTINGS}.rejected").unlink(missing_ok=True)  # was about the previous settings

    folder.mkdir(exist_ok=True)
    name = f"interview-grader-{release.version}-{release.arch}-py{release.python}.bundle"
    # first-boot accepts only one, and there may be no room for two; BUNDLE may already be on the card.
    _remove(folder, lambda old: not old.samefile(release_bundle))
    with release_bundle.open("rb") as content:
        _write(folder / name, content)
    _remove(folder, lambda old: old.name != name)
    for each, text in texts.items():
        _write(folder / each, io.BytesIO(text.encode()))
    if merged is not None:
        _write(user_data, io.BytesIO(merged.encode()))

    _say(f"release {release.version} for {release.arch} and Python {release.python} is on the card")
    if release.arch != _MACHINE:
        print(
            f"{PROGRAM}: the bundle is made for {release.arch}, but a Raspberry Pi needs one for {_MACHINE}",
            file=sys.stderr,
        )
    if merged is not None:
        if factory_name:
            _say(f"the device will be named {hostname.NAME}: {factory_name} is a factory name")
        _say("user-data installs it at the first boot, after the Imager's own commands")
        _say("now eject the card and start the board; its log: sudo cat /var/log/cloud-init-output.log")
    else:
        _say("there is no user-data, so the system has no cloud-init: eject the card, start the board,")
        _say(f"log in and run: sudo sh /boot/firmware/{FOLDER}/first-boot")


def _remove(folder: Path, is_old: Callable[[Path], bool]) -> None:
    for path in folder.glob("*.bundle"):
        if is_old(path):
            path.unlink()


def _settings(path: Path) -> str:
    """The owner's settings, if they are TOML; the device checks their content. Raises `UserError`."""
    text = _text(path)
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        return text
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: {error}; correct it and run this again") from error
    return text


def _text(path: Path, newline: str | None = None) -> str:
    """A file's text, with line ends for the board; `newline` "": unchanged. Raises `UserError`."""
    try:
        with path.open(encoding="utf-8" if newline == "" else "utf-8-sig", newline=newline) as file:
            return file.read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected text in UTF-8 ({error.reason})") from error


def _write(path: Path, content: BinaryIO) -> None:
    """Write a file atomically, synced to the card."""
    with replacing(path) as partial, partial.open("wb") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def _say(words: str) -> None:
    print(f"{PROGRAM}: {words}")


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM, description="Put a release on a card that the Raspberry Pi Imager has written."
    )
    parser.add_argument("boot", type=Path, metavar="BOOT", help="folder or drive of the boot partition")
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="for aarch64 and the system's Python")
    parser.add_argument("signers", type=Path, metavar="SIGNERS", help="public keys of trusted signers")
    parser.add_argument(
        "config", type=Path, nargs="?", metavar=SETTINGS, help="settings for the device's first start"
    )
    return parser
