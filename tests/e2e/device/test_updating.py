"""Updates of a device with the real daemon: good, bad, refused, and killed at every step.

Real bundles, keys, environments and records; systemctl is a stand-in, which starts the release of `current`.
`test_update.py` does the same in a booted system.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from device.bundle import container
from device.update.transaction import STEPS, UNDO_STEPS

from appliance.audit import AuditLog
from appliance.records import Store
from tests.fakes import releases as variants
from tests.fakes.records import ID, OTHER, second, session_info
from tests.fakes.releases import make_bundle, make_key
from tests.fakes.updates import OLD, Device

pytestmark = pytest.mark.timeout(300)

NEW, BAD = "0.2.0", "0.3.0"
THIRD = "cccccccccccc"

RECORDS_ONE = """
import sys
from pathlib import Path
from appliance.records import Store
sys.path.append(sys.argv[2])
from tests.fakes.records import second, session_info
store, id = Store(Path(sys.argv[1])), sys.argv[3]
store.begin(session_info(id))
store.add(id, [second(number) for number in range(3)])
store.end(id)
store.close()
"""
"""A session of three seconds, recorded by the release whose Python runs this."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("updates")


@pytest.fixture(scope="module")
def key(folder) -> Path:
    return make_key(folder)


@pytest.fixture(scope="module")
def old(folder, key) -> Path:
    return make_bundle(folder, key, OLD)


@pytest.fixture(scope="module")
def new(folder, key) -> Path:
    return make_bundle(folder, key, NEW, variants.MIGRATES)


@pytest.fixture(scope="module")
def bad(folder, key) -> Path:
    return make_bundle(folder, key, BAD, variants.CRASHES)


@pytest.fixture(scope="module")
def made(folder, key, old, quick_python) -> Iterator[Device]:
    """A device with the old release and two sessions."""
    (folder / "device").mkdir()
    device = Device(folder / "device", key, old, quick_python)
    for id in (ID, OTHER):
        record(device.state, id)
    device.keep("new")
    yield device
    device.stop()


@pytest.fixture
def device(made) -> Device:
    """The same, restored and running."""
    made.put_back("new")
    made.settings["CAMERA__BACKEND"] = "demo"
    made.start()
    assert made.runs() == OLD
    return made


@pytest.fixture(scope="module")
def prepared(made, new, bad) -> Iterator[Device]:
    """The same with the newer releases installed already, so that a kill need not wait for that."""
    made.put_back("new")
    for path in (new, bad):
        container.unpack(path, made.signers, made.root / "incoming")
        made.releases.add(made.root / "incoming")
        shutil.rmtree(made.root / "incoming")
    made.keep("prepared")
    return made


def record(state: Path, id: str) -> None:
    """A session of three seconds."""
    store = Store(state)
    store.begin(session_info(id))
    store.add(id, [second(number) for number in range(3)])
    store.end(id)
    store.close()


def ids(state: Path) -> set[str]:
    store = Store(state)
    try:
        assert store.status.state == "ok"
        found = {kept.id for kept in store.sessions()}
        assert all(len(store.session(id).seconds) == 3 for id in found)  # type: ignore[union-attr]
        return found
    finally:
        store.close()


def has(path: Path, id: str) -> bool:
    """Whether a file of records has a row of a session."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return any(
            connection.execute(f"SELECT count(*) FROM {table} WHERE {column} = ?", (id,)).fetchone()[0]
            for table, column in (("sessions", "id"), ("seconds", "session"), ("markers", "session"))
        )


def said_once(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """It ended with this code, and one line that contains these words."""
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


# --- good -----------------------------------------------------------------------------------------


def updates_in_audit(device):
    return [entry for entry in AuditLog(device.state).entries() if entry["event"] == "update"]


def test_an_update_and_back_with_records_in_between(device, new):
    done = device.update(new)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any("demo clip: " in line and "2 sessions, schema 1 to 2" in line for line in lines), done.stdout
    assert device.runs() == NEW and device.is_healthy()
    assert device.outcome().items() >= {"version": NEW, "wanted": NEW, "outcome": "updated"}.items()
    assert f"updated to {NEW}, " in device.ask("/about")
    assert device.releases.all() == [OLD, NEW] and device.left_over() == []
    made = device.releases.path(NEW)
    installed = [made, made / "provisioning", *made.glob("venv/lib/python*/site-packages/appliance")]
    assert {path.stat().st_mode & 0o777 for path in installed} == {0o755}, "the service's user must read it"

    # What the newer version records stays; what is withdrawn meanwhile stays erased.
    python = device.releases.path(NEW) / "venv" / "bin" / "python"
    subprocess.run([python, "-c", RECORDS_ONE, device.state, variants.ROOT, THIRD], check=True, cwd="/")
    command = [device.releases.command(NEW), "sessions", "erase", ID, "--data-dir", device.state]
    subprocess.run(command, check=True, cwd="/", capture_output=True)

    done = device.updater("rollback", "")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 sessions of a newer version were converted to schema 1" in done.stdout
    assert device.runs() == OLD and device.is_healthy()
    device.stop()
    assert ids(device.state) == {OTHER, THIRD}
    files = [*device.state.glob("records*.db")]
    assert len(files) == 3 and not [path for path in files if has(path, ID)]
    assert all(has(path, OTHER) for path in files)
    told = updates_in_audit(device)
    assert [(each["before"], each["now"]) for each in told] == [(OLD, NEW), (NEW, OLD)]
    assert AuditLog(device.state).verify().fault == ""


def test_a_second_update_with_the_same_bundle_changes_nothing(device, old):
    before = device.systemctl("show", "-p", "MainPID", "--value")
    done = device.update(old)
    assert (done.returncode, done.stdout) == (0, f"{OLD} is already running; nothing was changed\n")
    assert device.systemctl("show", "-p", "MainPID", "--value") == before


def test_an_update_from_a_release_without_a_status_and_back(key, new, tmp_path, quick_python):
    """Its `/healthz` is read: idle means that no session is live, and healthy that it may stay."""
    (tmp_path / "device").mkdir()
    old = make_bundle(tmp_path, key, OLD, variants.BEFORE_STATUS)
    device = Device(tmp_path / "device", key, old, quick_python)
    device.settings["CAMERA__NEEDS_AGREEMENT"] = "false"
    try:
        device.start()
        said_once(device.update(new), 2, "a session may be live", "--now")
        done = device.update(new, "--now")
        assert done.returncode == 0, done.stdout + done.stderr
        assert device.runs() == NEW and device.is_healthy()
        done = device.updater("rollback", "")
        assert done.returncode == 0, done.stdout + done.stderr
        assert device.runs() == OLD and device.is_healthy() and device.left_over() == []
    finally:
        device.stop()


# --- refused: nothing is changed ------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(folder, key, new) -> dict[str, tuple[Path, str]]:
    """Bundles that a device refuses, and the message."""
    cut = folder / "cut.bundle"
    cut.write_bytes(new.read_bytes()[: new.stat().st_size // 2])
    (folder / "elsewhere").mkdir()
    stranger = make_key(folder, "stranger")
    return {
        "older": (make_bundle(folder / "elsewhere", key, "0.0.9"), "is not newer than"),
        "another board's": (
            make_bundle(folder / "elsewhere", key, "0.2.1", arch="riscv64"),
            "made for riscv64",
        ),
        "another Python's": (
            make_bundle(folder / "elsewhere", key, "0.2.2", python="3.1"),
            "made for Python 3.1",
        ),
        "truncated": (cut, "truncated"),
        "a stranger's": (
            make_bundle(folder / "elsewhere", stranger, NEW),
            "key that this device does not know",
        ),
        "absent": (folder / "absent.bundle", "No such file"),
    }


def test_bundles_are_refused_without_a_change(device, refused):
    before, process = _tree(device), device.systemctl("show", "-p", "MainPID", "--value")
    for path, words in refused.values():
        said_once(device.update(path), 2, words, path.name)
    assert _tree(device) == before
    assert device.runs() == OLD and device.systemctl("show", "-p", "MainPID", "--value") == process


def _tree(device: Device) -> list[tuple[str, int]]:
    """Every file of the releases, and when it was written."""
    found = [path for path in device.root.rglob("*") if path.name != "update.lock"]
    return sorted(
        (str(path), path.lstat().st_mtime_ns) for path in found if not path.is_dir() or path.is_symlink()
    )


def test_after_an_upgrade_of_the_system_updates_are_refused(device, new):
    """The current release can no longer run, so a rollback to it would fail."""
    device.stop()
    [library] = device.releases.link.glob("venv/lib/python3.*")
    library.rename(library.with_name("python3.9"))
    before = _tree(device)
    for done in (device.update(new), device.updater("rollback", "")):
        said_once(done, 2, "needs python3.9", "interview-grader-update uninstall")
    assert _tree(device) == before


def test_a_full_disk_is_refused(device, new, monkeypatch):
    device.stop()
    disk = device.root.with_name("disk")
    disk.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=70m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no right to mount")
    kept = device.root
    try:
        shutil.copytree(kept, disk / "opt", symlinks=True)
        monkeypatch.setattr(device, "root", disk / "opt")
        before = _tree(device)
        said_once(device.update(new), 2, "MB free", "MB needed", "make room")
        assert _tree(device) == before
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_nothing_is_updated_while_a_session_is_live_without_now(device, new, folder):
    device.stop()
    clip = (
        device.releases.path(OLD)
        / "venv/lib"
        / f"python{variants.PYTHON}"
        / "site-packages/appliance/_models/demo/demo.mp4"
    )
    device.settings.update(
        CAMERA__BACKEND="replay",
        CAMERA__PATH=str(clip),
        LAWFUL__REGION="other",
        LAWFUL__PURPOSE="practice",
    )
    try:
        device.start()
        version = json.loads(device.ask("/api/state"))["notice"]["version"]
        device.ask("/api/session/start", {"notice_version": version, "people": 1})
        said_once(device.update(new), 2, "a session is live", "--now")
        assert json.loads(device.ask("/api/state"))["state"] == "live"
        device.ask("/api/session/record", {})
        said_once(device.updater("rollback", ""), 2, "no release older than")
        said_once(device.update(new), 2, "a session is recording", "--now")
        done = device.update(new, "--now")
        assert done.returncode == 0, done.stdout + done.stderr
        assert device.runs() == NEW
        assert json.loads(device.ask("/api/state"))["state"] == "idle"
    finally:
        for name in ("CAMERA__PATH", "LAWFUL__REGION", "LAWFUL__PURPOSE"):
            device.settings.pop(name, None)


def test_a_service_that_does_not_answer_may_be_live(device, new):
    process = int(device.systemctl("show", "--value", "-p", "MainPID", "interview-grader.service"))
    os.kill(process, signal.SIGSTOP)
    try:
        said_once(device.update(new), 2, "does not answer", "may be live", "--now")
    finally:
        os.kill(process, signal.SIGCONT)
    assert device.runs() == OLD


def test_a_version_that_needs_a_missing_package_is_rolled_back(device, new):
    with device.lacking("openssh-client"):
        words = "0.2.0 needs packages: sudo apt-get install openssh-client"
        said_once(device.update(new), 2, words, f"{OLD} runs as before")
    assert device.runs() == OLD and device.is_healthy()
    assert device.releases.all() == [OLD] and device.left_over() == []


# --- bad: everything is as before -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (variants.UNFIT, "0.3.0 failed: interview-grader: it is a test"),
        (variants.BLIND, "0.3.0 failed: "),
        (variants.MIGRATES_BADLY, "could not be migrated to schema 2 (no such table: absent)"),
        (variants.CRASHES, "the service does not start: "),
        ({**variants.MIGRATES, **variants.UNHEALTHY}, "not healthy within 8 s: /healthz: it is a test"),
    ],
    ids=["unfit", "blind", "migrates badly", "crashes", "unhealthy"],
)
def test_a_bad_version_is_rolled_back(device, key, tmp_path, edits, words):
    said_once(device.update(make_bundle(tmp_path, key, BAD, edits)), 1, words, f"{OLD} runs as before")
    assert device.runs() == OLD and device.is_healthy()
    assert device.releases.all() == [OLD] and device.left_over() == []
    told = device.outcome()
    assert (told["version"], told["wanted"], told["outcome"]) == (OLD, BAD, "failed")
    assert words.partition(": ")[2] in told["reason"]
    assert f"{BAD}, " in device.ask("/about") and "failed" in device.ask("/about")
    device.stop()
    failed = updates_in_audit(device)[-1]
    assert (failed["outcome"], failed["wanted"], failed["reason"]) == ("failed", BAD, told["reason"])
    assert ids(device.state) == {ID, OTHER}


# --- rolled back, with faults meanwhile ------------------------------------------------------------


@contextlib.contextmanager
def places_with(device: Device, line: str) -> Iterator[None]:
    """The old release installs its system files with this line of Python."""
    program = device.releases.path(OLD) / "provisioning" / "update"
    kept = program.read_text()
    program.write_text(f"import os, signal, sys\n{line}\n")
    yield
    program.write_text(kept)


def test_what_could_not_be_rolled_back_is_tried_again_at_the_next_boot(device, bad):
    """A shutdown, for example, kills the updater and the programs that it has started."""
    with places_with(device, "sys.exit('it is a test')"):
        said_once(device.update(bad), 1, "does not start", "it is a test", "at the next boot")
        assert device.runs() == OLD and device.is_healthy(), "the other parts were done"
        assert device.left_over() == ["changing.json"]
        said_once(device.updater("recover"), 1, "it is a test", "at the next boot")
        said_once(device.updater("prune"), 1, "it is a test")
    device.stop()
    assert device.updater("recover", "--boot").returncode == 0
    assert device.releases.current() == OLD and device.releases.all() == [OLD]
    assert device.left_over() == []


def test_what_could_not_be_rolled_back_prevents_no_better_version(device, bad, new):
    with places_with(device, "sys.exit('it is a test')"):
        said_once(device.update(bad), 1, "it is a test")
        done = device.update(new)
    assert done.returncode == 0, done.stdout + done.stderr
    assert device.runs() == NEW and device.left_over() == []


def test_the_old_version_reads_its_own_board_file_after_a_rollback(key, tmp_path, quick_python):
    """The new one's has a setting that the old one does not know."""
    board = tmp_path / "board.toml"
    reads = variants.replaced('Path("/usr/lib/interview-grader/board.toml")', f"Path({str(board)!r})")
    places = (
        "import shutil, sys\nfrom pathlib import Path\n"
        "own = Path(__file__).with_name('boards') / 'pc.toml'\n"
        f"'place' in sys.argv and shutil.copyfile(own, {str(board)!r})\n"
    )
    system = {"provisioning/update": lambda _: places}
    old = make_bundle(tmp_path, key, OLD, {"configuration/layers.py": reads}, system=system)
    edits = {
        "configuration/layers.py": reads,
        **variants.CRASHES,
        **variants.MIGRATES,
        **variants.KNOWS_A_NEW_SETTING,
    }
    bad = make_bundle(tmp_path, key, BAD, edits, system={**system, **variants.SETS_IT_ON_A_PC})
    (tmp_path / "device").mkdir()
    device = Device(tmp_path / "device", key, old, quick_python)
    device.settings.update(ACCESS__LOOPBACK="operator", WEB__HOST="127.0.0.1", WEB__REDIRECT_PORT="0")
    record(device.state, ID)
    shutil.copyfile(variants.ROOT / "provisioning/boards/pc.toml", board)
    try:
        device.start()
        said_once(device.update(bad), 1, "does not start", f"{OLD} runs as before")
        assert device.runs() == OLD and device.is_healthy() and device.left_over() == []
    finally:
        device.stop()
    assert ids(device.state) == {ID}


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_during_a_rollback_is_ignored(device, bad, number):
    """A shutdown, or another Ctrl-C: a partial rollback is neither version."""
    with places_with(device, f"os.kill(os.getppid(), signal.{number})"):
        said_once(device.update(bad), 1, "does not start", f"{OLD} runs as before")
    assert device.runs() == OLD and device.is_healthy()
    assert device.left_over() == []


@pytest.mark.parametrize(("step", "runs"), [("try", OLD), ("stop", OLD), ("confirm", OLD), ("tidy", NEW)])
def test_stopped_by_a_signal_at_a_step(prepared, new, step, runs):
    device = prepared
    device.put_back("prepared")
    device.start()
    said_once(
        device.update(new, kill_at=f"{step}:SIGTERM"), 1, "it was stopped by a signal", f"; {runs} runs"
    )
    assert device.runs() == runs and device.is_healthy()
    assert device.updater("recover").returncode == 0
    assert device.runs() == runs and device.left_over() == []
    device.stop()


# --- killed ---------------------------------------------------------------------------------------

OUTCOMES = {NEW: "interrupted", BAD: "failed"}
KILLS = [(step, NEW, "new") for step in STEPS] + [(step, BAD, "bad") for step in UNDO_STEPS]


@pytest.mark.parametrize(("step", "wanted", "which"), KILLS, ids=[step for step, _, _ in KILLS])
def test_power_lost_at_a_step(prepared, new, bad, step, wanted, which):
    device = prepared
    device.put_back("prepared")
    device.start()
    done = device.update({"new": new, "bad": bad}[which], kill_at=step)
    assert done.returncode == -9, done.stdout + done.stderr
    device.stop()

    # Whatever happens next, one of the two starts.
    found = device.releases.current()
    assert found in (OLD, wanted)
    told = subprocess.run(
        [device.root / "current/venv/bin/interview-grader", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split()[1] == found

    # At the next boot it is finished or rolled back before the service starts.
    assert device.updater("recover", "--boot").returncode == 0
    assert device.systemctl("show", "-p", "MainPID", "--value") == "0"
    device.start()
    runs = wanted if step == "tidy" else OLD
    assert device.runs() == runs and device.is_healthy()
    assert device.outcome()["version"] == runs
    assert device.outcome()["outcome"] == ("updated" if step == "tidy" else OUTCOMES[wanted])
    assert device.left_over() == []
    device.stop()
    if runs == OLD:
        assert ids(device.state) == {ID, OTHER}


def test_every_step_is_killed_in_a_test():
    source = (variants.ROOT / "provisioning/device/update/transaction.py").read_text()
    entered = {
        line.split('"')[1]
        for line in source.splitlines()
        if "._step(change, " in line or '_undo_step("' in line
    }
    assert entered | {"undo-tidy"} == {step for step, _, _ in KILLS} == {*STEPS, *UNDO_STEPS}


def test_killed_in_the_middle_and_run_again(device, new):
    half = device.releases.path(NEW) / "venv"
    for begun in (half, half / "lib" / f"python{variants.PYTHON}" / "site-packages/appliance/records"):
        device.killed_once(new, begun.exists)
        assert device.runs() == OLD
    done = device.update(new)
    assert done.returncode == 0, done.stdout + done.stderr
    assert device.runs() == NEW and device.left_over() == []


def test_a_second_update_at_once_is_refused(device):
    program = "import sys; from pathlib import Path; from device.update import command; "
    program += (
        "command._prepare(Path(sys.argv[1]), 0.3); print('running', flush=True); import time; time.sleep(30)"
    )
    command = [sys.executable, "-c", program, str(device.root)]
    environment = {**os.environ, "PYTHONPATH": str(variants.ROOT / "provisioning")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "running\n"
        second_one = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert "another update or installation is running" in second_one.stderr
        first.kill()
