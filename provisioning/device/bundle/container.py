"""A release bundle: one file, a tar of a signature and a payload. Nothing is parsed before verification.

The payload is a tar.gz: first `release.json`, which names every other file with its SHA-256, then exactly
those: `setup.sh`, `systemd/`, `provisioning/` with the bill of materials, optionally `onnx/`, and `wheels/`
with `requirements.txt`, a hash for each wheel; for Python 3.11 also `numpy2/` and `requirements-numpy2.txt`,
for a device without camera packages that are built against numpy 1.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from device.bundle import manual, signing
from device.errors import BundleError, explain

SIGNATURE, PAYLOAD = "payload.tar.gz.sig", "payload.tar.gz"
"""The two members of a bundle, in this order."""

METADATA = "release.json"
FOLDERS = ("systemd", "provisioning")
ONNX = "onnx"
"""A folder of a Jetson's release: the models from which its TensorRT builds engines."""

WHEELS, REQUIREMENTS = "wheels", "requirements.txt"
NUMPY_2, REQUIREMENTS_NUMPY_2 = "numpy2", "requirements-numpy2.txt"
"""In `wheels/`: newer wheels for boards without camera packages that need numpy 1, and their requirements.

The set for numpy 1 is in the usual place: older updaters know only that one, and such a board loads no other.
"""

SBOM = "provisioning/sbom.cdx.json"
"""The bill of materials (CycloneDX), which is installed with the release."""

SIGNERS = "provisioning/release_signers"
"""Public keys of trusted signers, where a checkout has them. Keys in a bundle would prove nothing."""

VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}(?:(?:a|b|rc)\d{1,6})?(?:\+[a-z0-9]{1,20})?")

_BLOCK = tarfile.BLOCKSIZE
_COPY_BYTES = 1 << 20
_MAX_SIGNATURE = 16 << 10
_MAX_METADATA = 1 << 20
_MAX_PAYLOAD = 1 << 30
_MAX_UNPACKED = 2 << 30


@dataclass(frozen=True)
class Release:
    """The content of `release.json`. `files`: SHA-256 by name; `installed_bytes`: of all wheels unpacked."""

    version: str
    arch: str
    python: str
    created: str
    installed_bytes: int = 0
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: bytes | str) -> Release:
        """From JSON; raises `ValueError`."""
        data = json.loads(text)
        if not isinstance(data, dict):
            raise ValueError("not an object")
        try:
            made = cls(**{name: data[name] for name in cls.__dataclass_fields__})
        except KeyError as missing:
            raise ValueError(f"{missing} is missing") from None
        words = (made.version, made.arch, made.python, made.created)
        if not all(isinstance(word, str) for word in words) or not isinstance(made.files, dict):
            raise ValueError("a value has the wrong type")
        if not VERSION.fullmatch(made.version):
            raise ValueError(f"invalid version {made.version!r}")
        return made

    def json(self) -> bytes:
        """The content of the file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode() + b"\n"


def build(
    checkout: Path,
    out: Path,
    *,
    arch: str,
    python: str,
    wheels: Path,
    key: Path,
    onnx: Path | None = None,
    manual_folder: Path | None = None,
) -> Path:
    """Write `interview-grader-VERSION-ARCH-pyPYTHON.bundle` into folder `out`; raises `BundleError`.

    `arch` as `uname -m` prints it, `python` such as "3.11"; `wheels`: the folder that `wheels.gather` filled;
    `onnx`: models for TensorRT; `manual_folder`: what `manual.make` wrote. Also writes the bill of materials
    next to it, as `….cdx.json`.
    """
    from device.bundle.sbom import (
        sbom,  # not on a device: reads TOML, which Python 3.10 cannot do without a package
    )

    contents = _contents(checkout, wheels)
    for source, name in ((onnx, ONNX), (manual_folder, manual.PLACE)):
        for path in sorted(source.iterdir()) if source else ():
            contents[f"{name}/{path.name}"] = path.read_bytes(), False
    models = sorted(onnx.iterdir()) if onnx else []
    materials = sbom(sorted(wheels.rglob("*.whl")), models)
    contents[SBOM] = materials, False
    version = version_in(checkout)
    release = Release(
        version,
        arch,
        python,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        installed_bytes=sum(_unpacked_bytes(wheel) for wheel in wheels.glob("*.whl")),
        files={name: hashlib.sha256(content).hexdigest() for name, (content, _) in contents.items()},
    )
    out.mkdir(parents=True, exist_ok=True)
    made = out / f"interview-grader-{version}-{arch}-py{python}.bundle"
    with tempfile.TemporaryDirectory(dir=out) as folder:
        payload = Path(folder, PAYLOAD)
        with payload.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
            _write_tar(packed, {METADATA: (release.json(), False), **contents})
        signature = signing.sign(payload, key)
        partial = Path(folder, made.name)
        with (
            partial.open("wb") as outer,
            tarfile.open(fileobj=outer, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            _add_member(tar, SIGNATURE, io.BytesIO(signature), len(signature), False)
            with payload.open("rb") as content:
                _add_member(tar, PAYLOAD, content, payload.stat().st_size, False)
        partial.replace(made)
    made.with_suffix(".cdx.json").write_bytes(materials)
    return made


def verify(path: Path, signers: Path) -> Release:
    """Verify a bundle's signature and return its metadata; raises `BundleError`. Unpacks nothing."""
    with (
        _verified_payload(path, signers, Path(tempfile.gettempdir())) as payload,
        _open_payload(payload) as tar,
    ):
        return _read_metadata(tar)


def unpack(path: Path, signers: Path, into: Path) -> Release:
    """Verify a bundle and unpack it into a new folder; on a `BundleError` the folder is removed.

    The payload is copied to an unnamed file and verified there, so no one can replace it meanwhile.
    """
    try:
        into.mkdir(parents=True, mode=0o755)
        with _verified_payload(path, signers, into) as payload:
            return _unpack_payload(payload, into)
    except BaseException as error:
        shutil.rmtree(into, ignore_errors=True)
        if isinstance(error, OSError):
            raise BundleError(f"{into}: cannot be unpacked: {explain(error)}") from error
        raise


def version_in(checkout: Path) -> str:
    """The version of a checkout; raises `BundleError`."""
    source = checkout / "appliance" / "__init__.py"
    found = re.search(r'^__version__ = "(.+)"$', source.read_text("utf-8") if source.is_file() else "", re.M)
    if not found or not VERSION.fullmatch(found[1]):
        raise BundleError(f'{source}: expected a line like __version__ = "1.2.3"')
    return found[1]


# --- Building -------------------------------------------------------------------------------------


def _contents(checkout: Path, wheels: Path) -> dict[str, tuple[bytes, bool]]:
    """Name -> content, and whether it is executable."""
    found: dict[str, tuple[bytes, bool]] = {}
    paths = [
        checkout / "setup.sh",
        *(path for name in FOLDERS for path in sorted((checkout / name).rglob("*"))),
    ]
    for path in paths:
        if path.is_file() and "__pycache__" not in path.parts:
            found[path.relative_to(checkout).as_posix()] = path.read_bytes(), os.access(path, os.X_OK)
    for wheel in sorted(wheels.rglob("*.whl")):
        found[f"{WHEELS}/{wheel.relative_to(wheels)}"] = wheel.read_bytes(), False
    for name, lines in requirements(wheels).items():
        found[f"{WHEELS}/{name}"] = lines.encode(), False
    return found


def requirements(wheels: Path) -> dict[str, str]:
    """File -> what pip is to install, with hashes; raises `BundleError`."""
    lines = _requirement_lines(wheels)
    if "interview_grader" not in lines:
        raise BundleError(f"{wheels}: expected the appliance's own wheel in it")
    found = {REQUIREMENTS: "".join(lines.values())}
    if others := _requirement_lines(wheels / NUMPY_2):
        found[REQUIREMENTS_NUMPY_2] = "".join((lines | others).values())
    return found


def _requirement_lines(wheels: Path) -> dict[str, str]:
    """Name -> a line for pip, with its hash; raises `BundleError` for two wheels of one package."""
    lines: dict[str, str] = {}
    for wheel in sorted(wheels.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        if name in lines:
            raise BundleError(
                f"{wheels}: two wheels of {name}: expected one; gather them again in an empty folder"
            )
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines[name] = f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n"
    return lines


def _unpacked_bytes(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        return sum(each.file_size for each in archive.infolist())


def _write_tar(out: gzip.GzipFile, contents: dict[str, tuple[bytes, bool]]) -> None:
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, (content, runs) in contents.items():
            _add_member(tar, name, io.BytesIO(content), len(content), runs)


def _add_member(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, runs: bool) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o755 if runs else 0o644
    tar.addfile(member, content)


# --- Reading --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _verified_payload(path: Path, signers: Path, folder: Path) -> Iterator[BinaryIO]:
    """The verified payload, in an unnamed file."""
    try:
        with path.open("rb") as outer, tempfile.TemporaryFile(dir=folder) as payload:
            signature = io.BytesIO()
            _copy_member(outer, SIGNATURE, _MAX_SIGNATURE, signature)
            _copy_member(outer, PAYLOAD, _MAX_PAYLOAD, payload)
            if outer.read(_COPY_BYTES).strip(b"\0"):
                raise BundleError("unexpected data after the payload: not a release bundle")
            payload.flush()
            signing.verify(payload, signature.getvalue(), signers)
            payload.seek(0)
            yield payload
    except OSError as error:
        raise BundleError(f"{error.filename or path}: {explain(error)}") from error
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _copy_member(outer: BinaryIO, name: str, limit: int, into: IO[bytes]) -> None:
    """Copy the next member, which must be a regular file of this name. Parses only its header."""
    header = outer.read(_BLOCK)
    try:
        member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, ValueError):
        what = "the file is truncated" if len(header) < _BLOCK else "not a release bundle"
        raise BundleError(f"{what}: expected {name}; copy the file again") from None
    if member.name != name or member.type != tarfile.REGTYPE or not 0 < member.size <= limit:
        raise BundleError(
            f"contains {member.name!r} ({member.size} bytes): expected {name}, at most {limit} bytes"
        )
    left = member.size
    while left:
        block = outer.read(min(left, _COPY_BYTES))
        if not block:
            raise BundleError(f"the file is truncated in {name}; copy it again")
        into.write(block)
        left -= len(block)
    outer.read(-member.size % _BLOCK)


@contextlib.contextmanager
def _open_payload(payload: BinaryIO) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(fileobj=payload, mode="r|gz") as tar:
            yield tar
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise BundleError(f"the payload is signed, but damaged ({error}); make the bundle again") from error


def _read_metadata(tar: tarfile.TarFile) -> Release:
    member = tar.next()
    content = tar.extractfile(member) if member and member.isreg() else None
    if not (member and content and member.name == METADATA and member.size <= _MAX_METADATA):
        raise BundleError(f"the payload does not begin with {METADATA}; make the bundle again")
    try:
        return Release.read(content.read())
    except ValueError as error:
        raise BundleError(f"{METADATA}: {error}; make the bundle again") from error


def _unpack_payload(payload: BinaryIO, into: Path) -> Release:
    with _open_payload(payload) as tar:
        release, room = _read_metadata(tar), _MAX_UNPACKED
        left = dict(release.files)
        while member := tar.next():
            digest, room = left.pop(member.name, None), room - member.size
            if digest is None or not member.isreg() or not _is_ours(member.name) or room < 0:
                raise BundleError(f"{member.name!r} does not match {METADATA}; make the bundle again")
            content = tar.extractfile(member)
            assert content is not None  # a regular file has one
            if _write(into / member.name, content, runs=bool(member.mode & 0o100)) != digest:
                raise BundleError(f"{member.name!r} differs from {METADATA}; make the bundle again")
    if left:
        raise BundleError(f"{sorted(left)[0]!r} is missing; make the bundle again")
    _write(into / METADATA, io.BytesIO(release.json()), runs=False)
    return release


def _is_ours(name: str) -> bool:
    """Whether a name stays within the folder and belongs to a known part."""
    parts = PurePosixPath(name).parts
    return "/".join(parts) == name and ".." not in parts and parts[0] in ("setup.sh", WHEELS, ONNX, *FOLDERS)


def _write(path: Path, content: IO[bytes], *, runs: bool) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        while block := content.read(_COPY_BYTES):
            digest.update(block)
            file.write(block)
    path.chmod(0o755 if runs else 0o644)
    return digest.hexdigest()
