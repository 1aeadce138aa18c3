"""The source of the release to install: a signed bundle, or the installer's own checkout."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from device.bundle import container
from device.errors import UserError
from device.layout import Layout
from device.system.generated_files import GeneratedFile
from device.update.releases import Releases

HERE = Path(__file__).resolve().parents[3]
"""The checkout, unpacked bundle or installed release that contains this file."""


@dataclass(frozen=True)
class Source:
    """A release to install. `folder` has its systemd/ and provisioning/ even before the installation."""

    version: str
    folder: Path
    offline: bool
    releases: Releases
    add: Callable[[], str]

    @property
    def boards(self) -> Path:
        """The folder with the files of every board."""
        return self.folder / "provisioning/boards"

    def plan(self) -> str:
        """What would change."""
        now = self.releases.current()
        return "" if now == self.version else f"release {self.version}" + (f", was {now}" if now else "")

    def install(self) -> None:
        """Install it next to the other releases and make it the current one."""
        self.releases.switch(self.add())


@contextlib.contextmanager
def open_source(options: argparse.Namespace, layout: Layout) -> Iterator[Source]:
    """The source that the options name; raises `DeviceError` if it is refused."""
    releases = Releases(layout.opt, system_packages=True)  # such as the camera library of a board
    now = releases.current()
    if options.offline is None:
        source = _checkout(releases, now)
        _refuse_another(now, source.version, "make release, then interview-grader-update BUNDLE")
        yield source
        return
    signers = options.signers or layout.signers
    if not signers.exists():
        raise UserError(
            f"{signers}: no such file: expected the public keys of trusted signers; "
            "obtain them through a different channel than the bundle, and add --signers FILE"
        )
    version = container.verify(options.offline, signers).version
    _refuse_another(now, version, f"sudo interview-grader-update {options.offline}")
    unpacked = layout.unpacking
    shutil.rmtree(unpacked, ignore_errors=True)
    try:
        container.unpack(options.offline, signers, unpacked)
        yield Source(version, unpacked, True, releases, lambda: releases.add(unpacked))
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def signers_file(options: argparse.Namespace, layout: Layout, source: Source) -> GeneratedFile | None:
    """The file of trusted signers: the given one, else the device's own unchanged, else the checkout's.

    None if there is nothing to write; raises `UserError` for a missing file.
    """
    given = options.signers or (None if layout.signers.exists() else source.folder / container.SIGNERS)
    try:
        return GeneratedFile(layout.signers, given.read_text(encoding="utf-8")) if given else None
    except (OSError, UnicodeDecodeError) as error:
        if options.signers is None:
            return None
        raise UserError(f"--signers {given}: cannot be read ({error}); give a file of public keys") from error


def _checkout(releases: Releases, now: str | None) -> Source:
    if now and releases.link.resolve() == HERE:  # repairing with the installer of the installed release
        return Source(now, HERE, True, releases, lambda: now)
    if (HERE / container.METADATA).exists():
        raise UserError(
            f"{HERE} is neither a checkout nor the installed release; add --offline BUNDLE, which is verified"
        )
    return Source(container.version_in(HERE), HERE, False, releases, lambda: releases.add_online(HERE))


def _refuse_another(now: str | None, version: str, instead: str) -> None:
    if now and now != version:
        raise UserError(f"release {now} is installed, this is {version}; to change it: {instead}")
