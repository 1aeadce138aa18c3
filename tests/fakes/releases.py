"""Real bundles that install in seconds: a hand-made wheel of the appliance, with the tests' libraries."""

from __future__ import annotations

import base64
import hashlib
import platform
import shutil
import sysconfig
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from device.bundle import container, signing

from tests.machine import ROOT

PYTHON = f"{platform.python_version_tuple()[0]}.{platform.python_version_tuple()[1]}"
ARCH = platform.machine()
OWN = sysconfig.get_path("purelib")
"""Where the libraries of the tests are."""

Edits = Mapping[str, Callable[[str], str]]
"""Files of the appliance and the edits of their text."""


def replaced(old: str, new: str) -> Callable[[str], str]:
    """An edit of one place, which must exist."""

    def edit(text: str) -> str:
        assert text.count(old) >= 1, f"{old!r} is missing, so it cannot be replaced"
        return text.replace(old, new, 1)

    return edit


UNHEALTHY: Edits = {
    "health.py": replaced(
        '        if session_state in ("idle", "paused"):\n',
        '        if session_state:\n            return "failing", "it is a test"\n'
        '        if session_state in ("idle", "paused"):\n',
    )
}
"""A version that starts and reports itself as unhealthy."""

CRASHES: Edits = {
    "commands/run.py": replaced(
        "        from appliance.daemon import Daemon\n",
        '        raise OSError("it is a test")\n        from appliance.daemon import Daemon\n',
    )
}
"""A version that passes every check and crashes at the start."""

UNFIT: Edits = {
    "commands/check_models.py": replaced(
        "    check = _Check(config)\n", '    raise ModelError("it is a test")\n'
    )
}
"""A version whose `check` fails."""

BEFORE_STATUS: Edits = {
    "commands/status/__init__.py": replaced('        "status", parents=', '        "later", parents=')
}
"""A version without the command `status`, like the first releases."""

BLIND: Edits = {
    "commands/analyze/reading.py": replaced(
        "yield from _reading_lines(self._options, reading_json(reading, self._source))",
        "assert reading is None",
    )
}
"""A version that cannot read the demo clip."""

MIGRATES: Edits = {
    "records/store/schema.py": replaced(
        'MIGRATIONS: tuple[Migration, ...] = (Migration(1, "first tables", first_tables),)',
        "def second_step(connection: sqlite3.Connection) -> None:\n"
        "    connection.execute(\"ALTER TABLE sessions ADD COLUMN room TEXT NOT NULL DEFAULT ''\")\n\n\n"
        "MIGRATIONS: tuple[Migration, ...] = (\n"
        '    Migration(1, "first tables", first_tables), Migration(2, "rooms", second_step)\n)',
    )
}
"""A version with one more migration."""

MIGRATES_BADLY: Edits = {
    "records/store/schema.py": replaced(
        'MIGRATIONS: tuple[Migration, ...] = (Migration(1, "first tables", first_tables),)',
        "def second_step(connection: sqlite3.Connection) -> None:\n"
        '    connection.execute("ALTER TABLE absent ADD COLUMN room TEXT")\n\n\n'
        "MIGRATIONS: tuple[Migration, ...] = (\n"
        '    Migration(1, "first tables", first_tables), Migration(2, "rooms", second_step)\n)',
    )
}
"""A version whose migration fails."""

KNOWS_A_NEW_SETTING: Edits = {
    "configuration/settings.py": replaced(
        '    port: int = Field(8080, ge=0, le=65535, description="Port to listen on',
        '    novelty: bool = Field(False, description="A test.")\n'
        '    port: int = Field(8080, ge=0, le=65535, description="Port to listen on',
    )
}
"""A version with a setting that older ones do not know."""

SETS_IT_ON_A_PC: Edits = {"provisioning/boards/pc.toml": replaced("[web]\n", "[web]\nnovelty = true\n")}
"""Its board file."""


def make_key(folder: Path, name: str = "key") -> Path:
    """A private key to sign with."""
    key = folder / name
    signing.make_key(key)
    return key


NEW_SYSTEM: Edits = {
    **SETS_IT_ON_A_PC,
    "systemd/interview-grader-extra.service": lambda _: "[Service]\nType=oneshot\nExecStart=true\n",
    "systemd/interview-grader-extra.timer": lambda _: (
        "[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=timers.target\n"
    ),
    "systemd/interview-grader.sysusers": lambda text: f"g igextra -\n{text}m interview-grader igextra\n",
    "systemd/interview-grader.service": replaced("Description=", "Description=Renewed "),
    "provisioning/device/system/release_files.py": replaced(
        "_COPIES = {\n",
        "_COPIES = {\n"
        '    f"{UNITS}/interview-grader-extra.service": "systemd/interview-grader-extra.service",\n'
        '    f"{UNITS}/interview-grader-extra.timer": "systemd/interview-grader-extra.timer",\n',
    ),
    "provisioning/device/layout.py": replaced(
        "ENABLED_UNITS = (", 'ENABLED_UNITS = ("interview-grader-extra.timer", '
    ),
}
"""A version with an additional unit, an additional group, and a changed unit."""


def make_bundle(
    folder: Path,
    key: Path,
    version: str,
    edits: Edits | None = None,
    libraries: str = OWN,
    system: Edits | None = None,
    **more: str,
) -> Path:
    """A bundle of this checkout as `version`, with edits of the appliance and of its system files.

    `libraries`: the folder on the device with the imported libraries; `more`: another `arch` or `python`.
    """
    work = folder / f"work-{version}"
    shutil.rmtree(work, ignore_errors=True)
    checkout, wheels = work / "checkout", work / "wheels"
    wheels.mkdir(parents=True)
    for name in ("provisioning", "systemd"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "setup.sh", checkout / "setup.sh")
    for name, edit in (system or {}).items():
        path = checkout / name
        path.write_text(edit(path.read_text() if path.exists() else ""))
    (checkout / "appliance").mkdir()
    (checkout / "appliance" / "__init__.py").write_text(f'__version__ = "{version}"\n')
    appliance_wheel(wheels, version, edits or {}, libraries)
    return container.build(
        checkout, folder, wheels=wheels, key=key, **{"arch": ARCH, "python": PYTHON, **more}
    )


class SmallBundle:
    """A bundle with only a setup.sh that records that it ran, and the keys that a device knows."""

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

    def signed_by(self, key: Path, arch: str = ARCH) -> Path:
        return container.build(
            self.checkout, self.folder, arch=arch, python=PYTHON, wheels=self.wheels, key=key
        )


def appliance_wheel(folder: Path, version: str, edits: Edits, libraries: str) -> Path:
    """A wheel of the appliance and its models, with a .pth file that points to its libraries."""
    files: dict[str, bytes] = {"libraries.pth": f"{libraries}\n".encode()}
    left = {"__init__.py": replaced('__version__ = "', f'__version__ = "{version}"\n_BEFORE = "'), **edits}
    for path in sorted((ROOT / "appliance").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(ROOT / "appliance").as_posix()
            edit = left.pop(name, None)
            files[f"appliance/{name}"] = edit(path.read_text()).encode() if edit else path.read_bytes()
    assert not left, left
    for path in sorted((ROOT / "models").rglob("*")):
        if path.is_file() and "build" not in path.relative_to(ROOT / "models").parts:
            files[f"appliance/_models/{path.relative_to(ROOT / 'models')}"] = path.read_bytes()
    return small_wheel(
        folder, "interview_grader", version, files, command="interview-grader = appliance.cli:main"
    )


def small_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes], command: str = "") -> Path:
    """A wheel of these files without dependencies; `command`: a console script, as in entry points."""
    info = f"{name}-{version}.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if command:
        metadata[f"{info}/entry_points.txt"] = f"[console_scripts]\n{command}\n".encode()
    content = {**files, **metadata}
    record = [f"{each},sha256={_digest(data)},{len(data)}" for each, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in content.items():
            archive.writestr(zipfile.ZipInfo(each), data)  # a fixed date gives the same bytes each time
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
