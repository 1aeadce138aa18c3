"""Exports of long sessions: little memory, one at a time, few per link; and the page of a session."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, process_time

import pytest

from appliance.errors import TooManyAttempts
from appliance.records import StorageLimits, Store
from appliance.records.store.rows import COLUMNS
from appliance.web.app import create_app
from appliance.web.context import AppContext
from appliance.web.export_limiter import LINK_EXPORTS
from appliance.web.transport.server import Server
from tests.fakes.records import ID, session_info
from tests.fakes.web import make_context, served
from tests.machine import ROOT

pytestmark = pytest.mark.timeout(600)
"""A long day has 345,600 rows: a minute on an idle machine, many minutes on a busy one."""

HOURS, PEOPLE = 12, 8
MOST_MB = 100
"""Limit for the memory that an export adds: the service may have 768 MB, and uses up to 450."""

_MEASURE = """
import re, sys
from pathlib import Path
from appliance.records.export import export_session
from appliance.records import Store
def peak_mb():
    # Not ru_maxrss: a process begins with that of the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
session = Store(Path(sys.argv[1])).session(sys.argv[2])
before = peak_mb()
size = sum(len(block) for block in export_session(session, sys.argv[3]))
print(size, peak_mb() - before)
"""

_SERVE = """
import re, sys
from dataclasses import replace
from pathlib import Path
from appliance.records import Store
from appliance.web.app import create_app
from appliance.web.transport.server import Server
from tests.fakes.web import make_context, served
app = create_app(replace(make_context(), store=Store(Path(sys.argv[1]))))
server = Server(app, "127.0.0.1", 0, max_connections=8)
with served(server):
    print(server.port, flush=True)
    for _line in sys.stdin:
        found = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
        print(int(found[1]) / 1024, flush=True)
"""


def fill(folder: Path, people: int, seconds: int, each: int) -> Path:
    """One session of this many seconds, with `each` rows per person, spread over all of it."""
    store = Store(folder, StorageLimits(), free_mb=lambda path: 1e6)
    store.begin(session_info())
    values = [0.125, 0.125, 0.125, 0.25, 0.125, 0.125, 0.125, 10, 9, 2, 1, 0, 0, 0, 0, 0]
    values += [412.25, 88.5, 140.125, 141.0, 3.125, -4.0, 0.875, 0.0625, 0.125, 0, 0]
    last = seconds - each
    rows = (
        (ID, person, second, *values)
        for person in range(1, people + 1)
        for start in [last * (person - 1) // max(1, people - 1)]
        for second in range(start, start + each)
    )
    marks = ", ".join("?" * (len(COLUMNS) + 1))
    with contextlib.closing(sqlite3.connect(folder / "records.db")) as connection, connection:
        connection.executemany(f"INSERT INTO seconds (session, {', '.join(COLUMNS)}) VALUES ({marks})", rows)
    store.end(ID)
    store.close()
    return folder


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("long"), PEOPLE, HOURS * 3600, HOURS * 3600)


@pytest.fixture
def short(tmp_path: Path) -> Iterator[AppContext]:
    store = Store(fill(tmp_path, 8, 900, 900))
    yield replace(make_context(), store=store)
    store.close()


@pytest.mark.parametrize("kind", ["csv", "json", "pdf"])
def test_an_export_of_a_long_day_takes_little_memory(long: Path, kind: str) -> None:
    command = [sys.executable, "-c", _MEASURE, str(long), ID, kind]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=540, check=True)
    size, grown_mb = done.stdout.split()
    assert int(size) > (10_000 if kind == "pdf" else 30e6)
    assert float(grown_mb) <= MOST_MB


def test_exports_over_http_take_little_memory(long: Path) -> None:
    command = [sys.executable, "-c", _SERVE, str(long)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin and server.stdout
        port = int(server.stdout.readline())

        def peak_mb() -> float:
            assert server.stdin and server.stdout
            print(file=server.stdin, flush=True)
            return float(server.stdout.readline())

        def size_of(path: str) -> int:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=540)) as client:
                client.request("GET", path)
                answer, size = client.getresponse(), 0
                assert answer.status == 200
                while block := answer.read(1 << 20):
                    size += len(block)
                return size

        size_of("/sessions")
        before = peak_mb()
        for path in (f"/sessions/{ID}/export.{kind}" for kind in ("csv", "json", "pdf")):
            assert size_of(path) > 10_000
            assert peak_mb() - before <= MOST_MB, path
        server.stdin.close()


def test_a_session_with_thousands_of_numbers_has_a_page(tmp_path: Path) -> None:
    """A person who returns gets a new number: 3,000 numbers, 115 seconds each, like 8 people for 12 h."""
    store = Store(fill(tmp_path, 3000, HOURS * 3600, 115))
    client = create_app(replace(make_context(), store=store)).test_client()
    client.environ_base["REMOTE_ADDR"] = "127.0.0.1"
    began = process_time()
    page = client.get(f"/sessions/{ID}").get_data(as_text=True)
    took = process_time() - began  # other work on the machine does not count
    print(f"the page took {took:.2f} s")
    assert took < 20  # 1 s on a desktop; it took minutes when every row was read for every person
    assert "Person 3000<" in page
    assert page.count('<div class="chart">') == 100
    assert "Charts are drawn for the 100" in page
    store.close()


def get(server: Server, path: str) -> tuple[int, dict[str, str]]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        return answer.status, dict(answer.getheaders())


def test_one_export_at_a_time(short: AppContext) -> None:
    with served(Server(create_app(short), "127.0.0.1", 0, max_connections=8)) as server:
        path = f"/sessions/{ID}/export.json"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as slow:
            slow.request("GET", path)
            answer = slow.getresponse()
            assert answer.read(1000)  # and no more: no buffer between the two holds 5 MB
            status, headers = get(server, path)
            assert (status, headers["Retry-After"]) == (503, "5")
            answer.read()
        by = monotonic() + 20
        while get(server, path)[0] == 503 and monotonic() < by:
            pass  # the first slot is freed right after its last byte
        assert get(server, path)[0] == 200


def test_a_client_that_disconnects_frees_the_export_slot(short: AppContext) -> None:
    with served(Server(create_app(short), "127.0.0.1", 0, max_connections=8)) as server:
        path = f"/sessions/{ID}/export.json"
        gone = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        gone.request("GET", path)
        gone.getresponse().read(1000)
        gone.close()
        by = monotonic() + 30
        while (status := get(server, path)[0]) == 503 and monotonic() < by:
            pass
        assert status == 200


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_an_export_is_cut_off_when_its_session_is_erased(short: AppContext, kind: str) -> None:
    with served(Server(create_app(short), "127.0.0.1", 0, max_connections=8)) as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as slow:
            slow.request("GET", f"/sessions/{ID}/export.{kind}")
            answer = slow.getresponse()
            assert answer.read(1000)
            short.store.erase(ID)  # a slow reader does not keep the rows alive
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        assert get(server, f"/sessions/{ID}/export.{kind}")[0] == 404


def test_the_audit_log_has_one_line_for_the_same_export(short: AppContext) -> None:
    client = create_app(short).test_client()
    client.environ_base["REMOTE_ADDR"] = "127.0.0.1"
    for kind in ("csv", "csv", "json", "csv"):
        with client.get(f"/sessions/{ID}/export.{kind}") as answer:
            assert answer.status_code == 200
    entries = [(entry["event"], entry["format"]) for entry in short.audit.entries()]
    assert entries == [("export", "csv"), ("export", "json")]


def test_personal_links_have_an_export_limit_and_their_own_slot(short: AppContext) -> None:
    with short.exports.slot(ID):
        for _ in range(LINK_EXPORTS):
            with short.exports.slot(ID, by_link=True):
                pass
    with pytest.raises(TooManyAttempts, match="6 exports an hour"), short.exports.slot(ID, by_link=True):
        pass
    with short.exports.slot("other", by_link=True), short.exports.slot(ID):
        pass
