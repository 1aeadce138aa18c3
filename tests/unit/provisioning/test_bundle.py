"""Release bundles: refusals in one line, with nothing unpacked; real keys and the real ssh-keygen."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from device.bundle import container, signing
from device.errors import BundleError

from tests.fakes.releases import ARCH, PYTHON, make_key, small_wheel


class Made:
    """A bundle, and the files it was made from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = make_key(folder)
        self.signers = folder / "signers"
        self.signers.write_text(signing.public_line(self.key))
        self.checkout, self.wheels = folder / "checkout", folder / "wheels"
        for name in ("appliance", "provisioning", "systemd/deep"):
            (self.checkout / name).mkdir(parents=True)
        self.wheels.mkdir()
        (self.checkout / "appliance" / "__init__.py").write_text('__version__ = "1.2.3"\n')
        (self.checkout / "setup.sh").write_text("#!/bin/sh\n")
        (self.checkout / "setup.sh").chmod(0o755)
        (self.checkout / "systemd" / "deep" / "a.service").write_text("[Unit]\n")
        small_wheel(self.wheels, "interview_grader", "1.2.3", {"appliance/__init__.py": b""})
        self.path = self.build()

    def build(self) -> Path:
        return container.build(
            self.checkout, self.folder, arch=ARCH, python=PYTHON, wheels=self.wheels, key=self.key
        )

    def resigned(
        self, payload: bytes, key: Path | None = None, namespace: str = signing.RELEASE.namespace
    ) -> Path:
        """Another payload in the bundle, with a signature of its own."""
        work = self.folder / "resigned"
        work.mkdir(exist_ok=True)
        (work / "payload").write_bytes(payload)
        (work / "payload.sig").unlink(missing_ok=True)
        command = [
            "ssh-keygen",
            "-Y",
            "sign",
            "-q",
            "-f",
            str(key or self.key),
            "-n",
            namespace,
            str(work / "payload"),
        ]
        subprocess.run(command, check=True, capture_output=True)
        return self.packed(
            [(container.SIGNATURE, (work / "payload.sig").read_bytes()), (container.PAYLOAD, payload)]
        )

    def packed(self, members: list[tuple[str, bytes]]) -> Path:
        """A tar of these members."""
        path = self.folder / "other.bundle"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in members:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    def members(self) -> dict[str, bytes]:
        with tarfile.open(self.path) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]

    def payload(self, change) -> bytes:  # type: ignore[no-untyped-def]
        """The payload with its members changed: a list of (TarInfo, content)."""
        with tarfile.open(fileobj=io.BytesIO(self.members()[container.PAYLOAD])) as tar:
            content = [(each, tar.extractfile(each).read()) for each in tar]  # type: ignore[union-attr]
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as tar:
            for member, data in change(content):
                tar.addfile(member, io.BytesIO(data))
        return out.getvalue()

    def refused(self, path: Path, words: str) -> None:
        """One line with these words, from `verify` or `unpack`, and nothing unpacked."""
        into = self.folder / "into"
        with pytest.raises(BundleError, match=words) as refusal:
            container.unpack(path, self.signers, into)
        assert "\n" not in str(refusal.value)
        assert str(path) in str(refusal.value) or str(into) in str(refusal.value)
        assert not into.exists()


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path)


def test_a_bundle_unpacks_to_what_it_was_made_from(made, tmp_path):
    release = container.verify(made.path, made.signers)
    assert (release.version, release.arch, release.python) == ("1.2.3", ARCH, PYTHON)
    assert container.unpack(made.path, made.signers, tmp_path / "into") == release
    found = sorted(
        path.relative_to(tmp_path / "into").as_posix()
        for path in (tmp_path / "into").rglob("*")
        if path.is_file()
    )
    assert found == sorted([*release.files, container.METADATA])
    assert (tmp_path / "into" / "systemd" / "deep" / "a.service").read_text() == "[Unit]\n"
    assert os.access(tmp_path / "into" / "setup.sh", os.X_OK)
    assert not os.access(tmp_path / "into" / "systemd" / "deep" / "a.service", os.X_OK)
    assert (
        "interview-grader==1.2.3 --hash=sha256:"
        in (tmp_path / "into" / "wheels" / "requirements.txt").read_text()
    )


def test_a_bundle_contains_no_key_that_could_verify_it(made, tmp_path):
    files = container.unpack(made.path, made.signers, tmp_path / "into").files
    assert container.SIGNERS not in files and not (tmp_path / "into" / container.SIGNERS).exists()


def test_the_same_files_give_the_same_payload(made):
    first = container.verify(made.path, made.signers)
    second = container.verify(made.build(), made.signers)
    assert first.files == second.files


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.9, 0.999])
def test_a_truncated_bundle_is_refused(made, share):
    content = made.path.read_bytes()
    short = made.folder / "short.bundle"
    short.write_bytes(content[: int(len(content.rstrip(b"\0")) * share)])
    made.refused(short, "truncated")


def test_a_changed_byte_never_changes_what_is_unpacked(made):
    content = made.path.read_bytes()
    payload = len(content.rstrip(b"\0")) - len(made.members()[container.PAYLOAD].rstrip(b"\0"))
    files = container.verify(made.path, made.signers).files
    other = made.folder / "changed.bundle"
    places = [*range(0, payload, payload // 20), *range(payload, len(content.rstrip(b"\0")), 97)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0x20
        other.write_bytes(changed)
        try:
            assert container.verify(other, made.signers).files == files
            assert place < payload, place  # in the padding between two members
        except BundleError as error:
            assert "\n" not in str(error)


def test_another_payload_is_refused(made):
    other = made.payload(lambda content: [*content[:-1]])
    members = [(container.SIGNATURE, made.members()[container.SIGNATURE]), (container.PAYLOAD, other)]
    made.refused(made.packed(members), "the signature does not match")


def test_an_unknown_key_is_refused(made, tmp_path):
    stranger = make_key(tmp_path, "stranger")
    path = made.resigned(made.members()[container.PAYLOAD], stranger)
    made.refused(path, r"a key that this device does not know \(SHA256:")


def test_a_signature_for_another_purpose_is_refused(made):
    made.refused(made.resigned(made.members()[container.PAYLOAD], namespace="file"), "does not match")


def test_a_bundle_without_a_signature_is_refused(made):
    payload = made.members()[container.PAYLOAD]
    made.refused(made.packed([(container.PAYLOAD, payload)]), "expected payload.tar.gz.sig")
    made.refused(
        made.packed([(container.SIGNATURE, b"none"), (container.PAYLOAD, payload)]), "does not match"
    )


@pytest.mark.parametrize("name", ["payload.tar.gz", "../payload.tar.gz.sig", "/etc/passwd"])
def test_other_members_are_refused(made, name):
    made.refused(made.packed([(name, b"x"), *made.members().items()]), "expected payload.tar.gz.sig")


def test_data_after_the_payload_is_refused(made):
    made.refused(made.packed([*made.members().items(), ("more", b"x")]), "unexpected data")


@pytest.mark.parametrize("content", [b"", b"hello" * 1000, b"\0" * 20000, os.urandom(5000)])
def test_other_files_are_refused(made, content):
    path = made.folder / "no.bundle"
    path.write_bytes(content)
    made.refused(path, "not a release bundle|truncated")


def test_a_missing_file_and_missing_signers_are_refused(made):
    made.refused(made.folder / "absent.bundle", "No such file")
    made.signers.unlink()
    made.refused(made.path, "expected the public keys")


# Bundles that only the owner of the key could make: the payload must match its list even then.


def _member(name: str, data: bytes = b"x", **more: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in more.items():
        setattr(member, key, value)
    return member, data


def _listed(content, name: str):  # type: ignore[no-untyped-def]
    """The list in release.json with one more name."""
    note, data = content[0]
    metadata = json.loads(data)
    metadata["files"][name] = "0" * 64
    changed = json.dumps(metadata).encode()
    note.size = len(changed)
    return [(note, changed), *content[1:]]


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "provisioning/../../evil", "other/evil", "./setup.sh"]
)
@pytest.mark.parametrize("listed", [True, False])
def test_a_path_outside_the_folder_is_refused(made, name, listed):
    def change(content):  # type: ignore[no-untyped-def]
        return [*(_listed(content, name) if listed else content), _member(name)]

    made.refused(made.resigned(made.payload(change)), "does not match release.json")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(made, kind):
    def change(content):  # type: ignore[no-untyped-def]
        name = "provisioning/evil"
        return [*_listed(content, name), _member(name, b"", type=kind, linkname="/etc/passwd")]

    made.refused(made.resigned(made.payload(change)), "does not match release.json")


def test_a_missing_repeated_or_changed_file_is_refused(made):
    made.refused(made.resigned(made.payload(lambda content: content[:-1])), "is missing")
    made.refused(made.resigned(made.payload(lambda content: [*content, content[-1]])), "does not match")
    made.refused(
        made.resigned(made.payload(lambda content: [*content[:-1], _member(content[-1][0].name)])), "differs"
    )
    made.refused(made.resigned(made.payload(lambda content: content[1:])), "does not begin with release.json")


@pytest.mark.parametrize("version", ["", "1", "../1.2.3", "1.2.3/..", "1.2.3-evil", 7])
def test_an_invalid_version_is_refused(made, version):
    def change(content):  # type: ignore[no-untyped-def]
        note, data = content[0]
        changed = json.dumps({**json.loads(data), "version": version}).encode()
        note.size = len(changed)
        return [(note, changed), *content[1:]]

    made.refused(made.resigned(made.payload(change)), "release.json: ")


def test_a_payload_that_is_no_archive_is_refused(made):
    made.refused(made.resigned(b"signed, but nothing"), "damaged|begin")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A separate file system of this size."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported(made, tmp_path):
    small_wheel(made.wheels, "large", "1.0", {"large": os.urandom(600_000)})
    path = made.build()
    for size in ("256k", "1m"):  # too small for the payload, and for its content
        with small_disk(tmp_path / f"disk-{size}", size) as disk:
            with pytest.raises(BundleError, match="the disk is full; make room") as refusal:
                container.unpack(path, made.signers, disk / "into")
            assert "\n" not in str(refusal.value)
            assert not list(disk.iterdir())


def test_nothing_is_left_in_the_temporary_folder(made, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    container.verify(made.path, made.signers)
    made.refused(made.packed([(container.SIGNATURE, b"x"), (container.PAYLOAD, b"x")]), "does not match")
    assert not list((tmp_path / "temporary").iterdir())


def test_two_wheels_of_one_package_are_refused(made):
    small_wheel(made.wheels, "twice", "1.0", {})
    shutil.copy(made.wheels / "twice-1.0-py3-none-any.whl", made.wheels / "twice-2.0-py3-none-any.whl")
    with pytest.raises(BundleError, match="two wheels of twice"):
        made.build()


def test_a_checkout_without_a_version_is_refused(made):
    (made.checkout / "appliance" / "__init__.py").write_text("")
    with pytest.raises(BundleError, match="expected a line like"):
        made.build()
