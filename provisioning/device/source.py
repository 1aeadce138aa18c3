"""Where the release to be installed comes from: a signed bundle, or the checkout of the installer."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from device import bundle
from device.faults import Refused
from device.places import Places
from device.releases import Releases

HERE = Path(__file__).resolve().parent.parent.parent
"""The checkout, the unpacked bundle, or the installed release that this file belongs to."""


@dataclass(frozen=True)
class Source:
    """A release to install. `folder` holds its systemd/ and provisioning/ already before it is installed."""

    version: str
    folder: Path
    offline: bool
    releases: Releases
    add: Callable[[], str]

    @property
    def boards(self) -> Path:
        """The files of the boards."""
        return self.folder / "provisioning/boards"

    @property
    def sysusers(self) -> Path:
        """The list of users and groups."""
        return self.folder / "systemd/interview-grader.sysusers"

    def todo(self) -> str:
        """What would change."""
        now = self.releases.current()
        return "" if now == self.version else f"release {self.version}" + (f", was {now}" if now else "")

    def install(self) -> None:
        """Put it beside the others and make it the current one."""
        self.releases.switch(self.add())


@contextlib.contextmanager
def source_of(options: argparse.Namespace, places: Places) -> Iterator[Source]:
    """The source that the options name; raises `DeviceError` for one that is refused."""
    releases = Releases(places.opt, system_packages=True)  # python3-systemd, and what each board has
    now = releases.current()
    if options.offline is None:
        source = _checkout(releases, now)
        _refuse_another(now, source.version, "make release, then interview-grader-update BUNDLE")
        yield source
        return
    signers = _signers(options, places)
    version = bundle.verify(options.offline, signers).version
    _refuse_another(now, version, f"sudo interview-grader-update {options.offline}")
    with tempfile.TemporaryDirectory(prefix="interview-grader-", dir=_existing(places.opt)) as folder:
        unpacked = Path(folder, "release")
        bundle.unpack(options.offline, signers, unpacked)
        yield Source(version, unpacked, True, releases, lambda: releases.add(unpacked))


def keep_signers(options: argparse.Namespace, places: Places, source: Source) -> None:
    """Whose updates the device takes: as asked, or as the release says. The owner's file stays."""
    kept = places.config / "release_signers"
    given = options.signers or source.folder / "provisioning/release_signers"
    if given.exists() and (options.signers or not kept.exists()):
        shutil.copyfile(given, kept)


def _checkout(releases: Releases, now: str | None) -> Source:
    if (HERE / "release.json").exists() and now:  # mending with the installer of the installed release
        return Source(now, HERE, True, releases, lambda: now)
    return Source(bundle.version_in(HERE), HERE, False, releases, lambda: releases.add_online(HERE))


def _signers(options: argparse.Namespace, places: Places) -> Path:
    """The owner's own; else those of the device; else those that came with this installer."""
    kept = places.config / "release_signers"
    found = options.signers or (kept if kept.exists() else HERE / "provisioning/release_signers")
    return Path(found)


def _refuse_another(now: str | None, version: str, instead: str) -> None:
    if now and now != version:
        raise Refused(f"release {now} is installed and this is {version}; to change it: {instead}")


def _existing(folder: Path) -> Path:
    while not folder.is_dir():
        folder = folder.parent
    return folder
