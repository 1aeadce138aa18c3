"""`provisioning/unpack` and `--offline`: nothing of a bundle is run or believed that no known key signed."""

from __future__ import annotations

import argparse
import subprocess
import tarfile
from pathlib import Path

import pytest
from device import bundle, signing
from device.faults import BundleError, Refused
from device.places import Places
from device.source import source_of

from tests.doubles.releases import ARCH, PYTHON, make_key, small_wheel
from tests.machine import ROOT


class Made:
    """A bundle whose setup.sh says that it ran, and the keys that a device knows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, make_key(folder)
        self.signers = folder / "release_signers"
        self.signers.write_text(signing.public_line(self.key))
        checkout = folder / "checkout"
        for name in ("appliance", "provisioning", "systemd"):
            (checkout / name).mkdir(parents=True)
        (checkout / "appliance/__init__.py").write_text('__version__ = "1.2.3"\n')
        (checkout / "setup.sh").write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
        (checkout / "setup.sh").chmod(0o755)
        self.checkout, self.wheels = checkout, folder / "wheels"
        self.wheels.mkdir()
        small_wheel(self.wheels, "interview_grader", "1.2.3", {"appliance/__init__.py": b""})
        self.path = self.signed_by(self.key)

    def signed_by(self, key: Path) -> Path:
        return bundle.build(self.checkout, self.folder, arch=ARCH, python=PYTHON, wheels=self.wheels, key=key)

    def unpack(self, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(ROOT / "provisioning/unpack"), str(path or self.path), str(self.signers), "kit"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_a_bundle_of_somebody_known_is_unpacked(made: Made) -> None:
    done = made.unpack()
    assert (done.returncode, done.stderr) == (0, "")
    assert "now: sudo kit/setup.sh install --offline" in done.stdout and done.stdout.count("\n") == 1
    assert (made.folder / "kit/setup.sh").is_file() and not (made.folder / "ran").exists()
    again = made.unpack()
    assert again.returncode == 2 and "not there yet" in again.stderr
    assert (made.folder / "kit/setup.sh").is_file(), "what is there is left alone"


def test_a_bundle_of_a_stranger_is_not(made: Made) -> None:
    path = made.signed_by(make_key(made.folder, "stranger"))
    done = made.unpack(path)
    assert done.returncode == 2 and "run nothing of it" in done.stderr and done.stderr.count("\n") == 1
    assert not (made.folder / "kit").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_bundle_with_a_link_in_the_payloads_place_leads_nowhere(made: Made, kind: bytes) -> None:
    aim, path = made.folder / "aim", made.folder / "links"
    with tarfile.open(made.path) as old, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as new:
        link = tarfile.TarInfo(bundle.PAYLOAD)
        link.type, link.linkname = kind, str(aim)
        new.addfile(link)
        for member in old:
            new.addfile(member, old.extractfile(member))
    done = made.unpack(path)
    assert done.returncode == 2 and not aim.exists() and not (made.folder / "kit").exists()


def test_what_is_no_bundle(made: Made) -> None:
    path = made.folder / "none"
    for content in (b"", b"hello", b"\0" * 10240):
        path.write_bytes(content)
        done = made.unpack(path)
        assert done.returncode == 2 and "not a bundle of ours" in done.stderr, content
    made.signers.write_text("")
    assert made.unpack().returncode == 2
    made.signers.unlink()
    assert "expected the public keys" in made.unpack().stderr


def test_a_bundle_vouches_for_nothing_itself(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the keys in it, and not by those beside the installer that came out of it."""
    (made.checkout / "provisioning/release_signers").write_text(signing.public_line(made.key))
    path = made.signed_by(made.key)
    bundle.unpack(path, made.signers, tmp_path / "kit")
    assert (tmp_path / "kit" / bundle.SIGNERS).is_file()
    monkeypatch.setattr("device.source.HERE", tmp_path / "kit")
    places = Places(tmp_path / "device")
    options = argparse.Namespace(offline=path, signers=None)
    refused = pytest.raises(Refused, match="get it another way than the bundle, and give it: --signers FILE")
    with refused, source_of(options, places):
        pass
    options.signers = made.signers
    with source_of(options, places) as source:
        assert source.version == "1.2.3"
    places.signers.parent.mkdir(parents=True)
    places.signers.write_text(signing.public_line(make_key(made.folder, "stranger")))
    options.signers = None
    stranger = pytest.raises(BundleError, match="a key that this device does not know")
    with stranger, source_of(options, places):
        pass
