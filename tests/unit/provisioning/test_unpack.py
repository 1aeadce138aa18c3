"""`provisioning/unpack` and `--offline`: nothing is run or trusted that no known key has signed."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from device.bundle import container, signing
from device.errors import BundleError, UserError
from device.install.source import open_source
from device.layout import Layout

from tests.fakes.releases import SmallBundle, make_key
from tests.machine import ROOT


@pytest.fixture
def made(tmp_path: Path) -> SmallBundle:
    return SmallBundle(tmp_path)


def unpack(made: SmallBundle, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(ROOT / "provisioning/unpack"), str(path or made.path), str(made.signers), "kit"]
    return subprocess.run(command, cwd=made.folder, capture_output=True, text=True, check=False)


def test_a_bundle_of_a_known_signer_is_unpacked(made: SmallBundle) -> None:
    done = unpack(made)
    assert (done.returncode, done.stderr) == (0, "")
    assert "now run: sudo kit/setup.sh install --offline" in done.stdout and done.stdout.count("\n") == 1
    assert (made.folder / "kit/setup.sh").is_file() and not (made.folder / "ran").exists()
    again = unpack(made)
    assert again.returncode == 2 and "does not exist yet" in again.stderr
    assert (made.folder / "kit/setup.sh").is_file(), "an existing folder is left alone"


def test_the_commands_in_the_documents_do_the_same(made: SmallBundle) -> None:
    blocks = re.findall(r"^```\n(.*?)^```$", (ROOT / "docs/operations.md").read_text("utf-8"), re.M | re.S)
    [block] = [block for block in blocks if "ssh-keygen -Y verify" in block]
    [name] = set(re.findall(r"\S+\.bundle", block))
    shutil.copy(made.path, made.folder / name)
    assert made.signers == made.folder / "release_signers"
    done = subprocess.run(["sh", "-euc", block], cwd=made.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'Good "interview-grader-release" signature' in done.stdout
    assert (made.folder / "kit/setup.sh").is_file() and not (made.folder / "ran").exists()


def test_it_unpacks_with_the_tar_of_a_mac(made: SmallBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """bsdtar has no --occurrence=1; its -q means the same. This stand-in runs Debian's tar."""
    tar = made.folder / "bin/tar"
    tar.parent.mkdir()
    tar.write_text(f"""#!/bin/sh
case "$1" in
  --version) echo 'bsdtar 3.5.3 - libarchive 3.7.4'; exit ;;
  -q) shift; exec {shutil.which("tar")} "$@" --occurrence=1 ;;
esac
case "$*" in *--occurrence*) exit 1 ;; esac
exec {shutil.which("tar")} "$@"
""")
    tar.chmod(0o755)
    monkeypatch.setenv("PATH", str(tar.parent), prepend=os.pathsep)
    done = unpack(made)
    assert (done.returncode, done.stderr) == (0, "") and (made.folder / "kit/provisioning").is_dir()


def test_a_bundle_of_an_unknown_signer_is_refused(made: SmallBundle) -> None:
    path = made.signed_by(make_key(made.folder, "stranger"))
    done = unpack(made, path)
    assert done.returncode == 2 and "run nothing from it" in done.stderr and done.stderr.count("\n") == 1
    assert not (made.folder / "kit").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_link_in_place_of_the_payload_is_not_followed(made: SmallBundle, kind: bytes) -> None:
    aim, path = made.folder / "aim", made.folder / "links"
    with tarfile.open(made.path) as old, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as new:
        link = tarfile.TarInfo(container.PAYLOAD)
        link.type, link.linkname = kind, str(aim)
        new.addfile(link)
        for member in old:
            new.addfile(member, old.extractfile(member))
    done = unpack(made, path)
    assert done.returncode == 2 and not aim.exists() and not (made.folder / "kit").exists()


def test_other_files_are_refused(made: SmallBundle) -> None:
    path = made.folder / "none"
    for content in (b"", b"hello", b"\0" * 10240):
        path.write_bytes(content)
        done = unpack(made, path)
        assert done.returncode == 2 and "not a release bundle" in done.stderr, content
    made.signers.write_text("")
    assert unpack(made).returncode == 2
    made.signers.unlink()
    assert "expected the public keys" in unpack(made).stderr


def test_keys_in_a_bundle_are_not_trusted(
    made: SmallBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those in the bundle nor those next to the installer unpacked from it."""
    (made.checkout / "provisioning/release_signers").write_text(signing.public_line(made.key))
    path = made.signed_by(made.key)
    container.unpack(path, made.signers, tmp_path / "kit")
    assert (tmp_path / "kit" / container.SIGNERS).is_file()
    monkeypatch.setattr("device.install.source.HERE", tmp_path / "kit")
    layout = Layout(tmp_path / "device")
    options = argparse.Namespace(offline=path, signers=None)
    refused = pytest.raises(
        UserError, match="obtain them through a different channel than the bundle, and add --signers FILE"
    )
    with refused, open_source(options, layout):
        pass
    options.signers = made.signers
    with open_source(options, layout) as source:
        assert source.version == "1.2.3"
    layout.signers.parent.mkdir(parents=True)
    layout.signers.write_text(signing.public_line(make_key(made.folder, "stranger")))
    options.signers = None
    stranger = pytest.raises(BundleError, match="a key that this device does not know")
    with stranger, open_source(options, layout):
        pass
