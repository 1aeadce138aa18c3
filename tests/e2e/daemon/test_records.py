"""Records of the running product: what reaches the disk, and what a power cut, a full disk and damage do."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.daemon.driver import DOUBLES, Daemon, running, until
from tests.e2e.daemon.driver_doubles import noting
from tests.machine import can_trace

WATCH_S = float(os.environ.get("WATCH_S", "6"))
"""Half of the time over which every write is watched; `make watch` takes 300."""

DEMO = ("--camera", "demo")

# The first bytes of pictures (JPEG, PNG, BMP, TIFF, WebP and other RIFF) as strace -x writes them.
PICTURES = (r"\xff\xd8\xff", r"\x89PNG", "BM", "II*", r"MM\x00*", "RIFF")
WRITES = "write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,mmap"
CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<rest>.*)$")
FILE = re.compile(r"\d+<(?P<path>/[^>]*)>")

RECORDS = {
    *(
        "records.db",
        "records.db-wal",
        "records.db-shm",
        "records.lock",
        "records.age.json",
        "records.age.json.part",
    ),
    "records.db-journal",  # while the file is being created
    *("audit.jsonl", "audit.head", "audit.head.part", "erasures.jsonl"),
}


def record(daemon: Daemon, seconds: int, **body: str) -> str:
    """Record until this many seconds are in the store; returns the id. Recording continues."""
    answer = daemon.post("/api/session/record", body)
    assert answer.status == 200, answer
    [id] = [each["id"] for each in sessions(daemon) if each["ended"] is None]
    until(lambda: kept(daemon, id)["seconds"] >= seconds, seconds + 20, f"{seconds} seconds")
    return str(id)


def sessions(daemon: Daemon) -> list[Any]:
    return list(daemon.request("/api/sessions").json()["sessions"])


def kept(daemon: Daemon, id: str) -> Any:
    return next(each for each in sessions(daemon) if each["id"] == id)


def state_folder(folder: Path) -> Path:
    return folder / "state"


def test_from_record_to_erase(tmp_path: Path) -> None:
    with running(tmp_path, *DEMO) as daemon:
        assert sessions(daemon) == []
        id = record(daemon, 2, label="morning")
        assert daemon.post("/api/session/marker", {"text": "question 2"}).status == 200
        assert daemon.post(f"/sessions/{id}/erase").status == 409
        daemon.stop_session()
        one = daemon.request(f"/api/sessions/{id}").json()
        assert one["session"]["label"] == "morning"
        assert [each["text"] for each in one["markers"]] == ["question 2"]
        assert len(one["persons"]) >= 2, "two people are in the clip"
        for second in (second for person in one["persons"] for second in person["timeline"]):
            assert second["frames"] >= second["scored"]
            assert second["emotions"] is None or sum(second["emotions"].values()) == pytest.approx(
                1, abs=0.01
            )
        for kind, start in (("csv", b"# session"), ("json", b"{"), ("pdf", b"%PDF-")):
            assert daemon.request(f"/sessions/{id}/export.{kind}").body.startswith(start)
        assert daemon.post(f"/sessions/{id}/erase").status == 200
        assert sessions(daemon) == []
        audit = state_folder(tmp_path) / "audit.jsonl"
        events = [json.loads(line)["event"] for line in audit.read_text().splitlines()]
        assert events[-4:] == ["export", "export", "export", "erase"]
        left = b"".join(path.read_bytes() for path in state_folder(tmp_path).glob("records.db*"))
        assert b"morning" not in left
        assert b"question 2" not in left


def test_a_normal_stop_ends_the_session_with_all_its_seconds(tmp_path: Path) -> None:
    with running(tmp_path, *DEMO) as daemon:
        id = record(daemon, 2)
    with running(tmp_path, *DEMO) as daemon:
        assert kept(daemon, id)["ending"] == "stopped"
        assert kept(daemon, id)["seconds"] >= 2


def test_a_power_cut_costs_a_second_at_most(tmp_path: Path) -> None:
    with running(tmp_path, *DEMO, ends_with=None) as daemon:
        id = record(daemon, 3)
        began = time.monotonic()
        before = kept(daemon, id)["seconds"]
        until(lambda: kept(daemon, id)["seconds"] > before, 10, "one second more")
        passed = time.monotonic() - began
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait(10)
    with running(tmp_path, *DEMO) as daemon:
        session = kept(daemon, id)
        assert session["ending"] == "power"
        assert session["seconds"] >= before + 1, passed
        assert daemon.state()["storage"] == {"state": "ok", "reason": None}
        assert sessions(daemon)[0]["ended"] is not None


def test_damaged_records_are_reported_and_replaced_at_the_start(tmp_path: Path) -> None:
    state_folder(tmp_path).mkdir(parents=True)
    (state_folder(tmp_path) / "records.db").write_bytes(b"damaged" * 1000)
    with running(tmp_path, *DEMO) as daemon:
        until(lambda: daemon.state()["storage"]["state"] == "set_aside", 10, "the report of the damage")
        assert "damaged" in daemon.state()["storage"]["reason"]
        record(daemon, 1)
    assert len(list(state_folder(tmp_path).glob("records.damaged-*.db"))) == 1


def test_a_full_disk_refuses_recording_and_live_continues(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free // 10**6
    if free >= 1_000_000:
        pytest.fail(f"{free} MB free: more than storage.min_free_mb may ask for")
    with running(tmp_path, *DEMO, "--set", "storage.min_free_mb=1000000") as daemon:
        answer = daemon.post("/api/session/record", {})
        assert answer.status == 507
        assert "free some space" in answer.json()["error"]
        state = daemon.state()
        assert (state["state"], state["storage"]["state"]) == ("live", "full")
        assert not (state_folder(tmp_path) / "records.db").exists()


def test_the_personal_link_gives_a_copy_until_erasing(tmp_path: Path) -> None:
    with running(tmp_path, *noting(tmp_path), module=DOUBLES) as daemon:
        link = urlsplit(daemon.start_session().json()["link"]).path
        assert daemon.request(f"{link}/copy.json").status == 404, "nothing is recorded yet"
        id = record(daemon, 1, label="mine")
        daemon.stop_session()
        assert daemon.request(f"{link}/copy.json").json()["session"]["id"] == id
        assert daemon.request(f"{link}/copy.pdf").body.startswith(b"%PDF-")
        withdrawn = daemon.post(link, headers={"Origin": f"http://127.0.0.1:{daemon.port}"})
        assert withdrawn.status == 200
        assert daemon.request(f"{link}/copy.csv").status == 404
        assert sessions(daemon) == []


# --- what reaches the disk ---


@contextmanager
def traced(daemon: Daemon, into: Path) -> Iterator[None]:
    """Every write of the daemon and its threads, with the path of each descriptor."""
    command = ["strace", "-f", "-y", "-x", "-s", "16", "-e", f"trace={WRITES}", "-o", str(into)]
    tracer = subprocess.Popen([*command, "-p", str(daemon.pid)], stderr=subprocess.PIPE, text=True)
    try:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        assert "attached" in line, line
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)


def written(trace: Path) -> tuple[dict[str, int], list[str]]:
    """Path -> number of writes (also by a shared mapping), and the calls whose data begins like a picture."""
    paths: dict[str, int] = {}
    pictures = []
    for line in trace.read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call is None or (
            call["name"] == "mmap" and not {"MAP_SHARED", "PROT_WRITE"} <= set(re.split(r"\W", line))
        ):
            continue
        target = FILE.search(call["rest"])
        if target is None:
            continue  # a socket, a pipe, an event
        paths[target["path"]] = paths.get(target["path"], 0) + 1
        if any(f'"{start}' in line for start in PICTURES):
            pictures.append(line)
    return paths, pictures


@pytest.mark.timeout(120 + 4 * WATCH_S)
def test_no_picture_reaches_the_disk(tmp_path: Path) -> None:
    if not can_trace():
        pytest.skip("no strace, or it may not attach")
    trace = tmp_path / "trace"
    with running(tmp_path, *DEMO) as daemon:
        own = {str(tmp_path / name) for name in ("out", "log")}
        with daemon.stream() as stream, traced(daemon, trace):
            ends = time.monotonic() + WATCH_S
            while time.monotonic() < ends:
                stream.take(1)
        live, pictures = written(trace)
        assert pictures == []
        assert set(live) <= own | {"/dev/null"}, "nothing is written while live"
        with daemon.stream() as stream, traced(daemon, trace):
            daemon.post("/api/session/record", {})
            ends = time.monotonic() + WATCH_S
            while time.monotonic() < ends:
                stream.take(1)
            daemon.stop_session()
        recorded, pictures = written(trace)
    assert pictures == []
    allowed = own | {"/dev/null"} | {str(state_folder(tmp_path) / name) for name in RECORDS}
    assert set(recorded) <= allowed
    assert str(state_folder(tmp_path) / "records.db-wal") in recorded, "the watch sees writes"
    assert not [
        path for path in state_folder(tmp_path).rglob("*") if b"\xff\xd8\xff\xe0" in path.read_bytes()
    ]


def test_the_watch_sees_a_picture(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    if not can_trace():
        pytest.skip("no strace, or it may not attach")
    trace, picture = tmp_path / "trace", tmp_path / "x.jpg"
    script = f"open({str(picture)!r}, 'wb').write(bytes([255, 216, 255, 224]) * 9)"
    command = ["strace", "-f", "-y", "-x", "-s", "16", "-e", f"trace={WRITES}", "-o", str(trace)]
    subprocess.run([*command, shutil.which("python3") or "python3", "-c", script], check=True, timeout=60)
    paths, pictures = written(trace)
    assert str(picture) in paths
    assert len(pictures) == 1
