"""Keeps one daemon busy for hours and checks that its memory, threads and descriptors do not grow.

Viewers watch, WebSockets listen, unknown clients connect, and session after session is recorded, marked,
exported and erased, all over loopback. `make soak` runs it for two hours.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from websockets.exceptions import WebSocketException

from tests.e2e.daemon.driver import Daemon, Stream, running

SESSION_S = 20.0
SAMPLE_S = 30.0

SHORTEST_S = 3 * SAMPLE_S
"""The shortest run: a slope needs two samples in the second half."""

KEEP = 20
"""Recorded sessions that stay in the history; older ones are erased, as an owner would do."""

MOST_MB_AN_HOUR = 2.0
"""Growth of resident memory over the second half of the run."""

MOST_MORE = 8
"""How many more threads and descriptors the last samples may have than the first."""


@dataclass(frozen=True)
class Sample:
    """One measurement of the daemon's process."""

    at_s: float
    resident_mb: float
    threads: int
    descriptors: int


def look(daemon: Daemon, since: float) -> Sample:
    """Read the figures of the process from /proc."""
    process = Path(f"/proc/{daemon.pid}")
    return Sample(
        time.monotonic() - since,
        daemon.resident_bytes() / 1e6,
        len(list((process / "task").iterdir())),
        len(list((process / "fd").iterdir())),
    )


def slope_mb_an_hour(samples: list[Sample]) -> float:
    """Growth of resident memory, as the slope of the line through these samples."""
    line = statistics.linear_regression([s.at_s / 3600 for s in samples], [s.resident_mb for s in samples])
    return line.slope


def watch(daemon: Daemon, over: threading.Event, parts: list[int]) -> None:
    """Be a viewer; reconnect whenever a session ends."""
    while not over.is_set():
        with suppress(OSError, HTTPException), Stream(daemon.port, "/stream.mjpg") as stream:
            if stream.status == 200:
                for _ in stream:
                    parts[0] += 1
                    if over.is_set():
                        return
        over.wait(0.2)


def listen(daemon: Daemon, over: threading.Event, messages: list[int]) -> None:
    """Be a WebSocket client."""
    while not over.is_set():
        with suppress(OSError, WebSocketException, TimeoutError), daemon.live() as client:
            while not over.is_set():
                with suppress(TimeoutError):
                    client.recv(timeout=1.0)
                    messages[0] += 1
        over.wait(0.2)


def record(daemon: Daemon, over: threading.Event, done: list[int]) -> None:
    """Record, mark, stop, view and export session after session; erase old ones."""
    while not over.is_set():
        _well(daemon.start_session().status)
        _well(daemon.post("/api/session/record", {"label": "soak", "note": ""}).status)
        over.wait(SESSION_S / 2)
        _well(daemon.post("/api/session/marker", {"text": "half time"}).status)
        over.wait(SESSION_S / 2)
        _well(daemon.stop_session().status)
        ids = [each["id"] for each in daemon.request("/api/sessions").json()["sessions"]]
        kind = ("csv", "json", "pdf")[done[0] % 3]
        for path in ("/", "/sessions", f"/sessions/{ids[0]}", f"/sessions/{ids[0]}/export.{kind}"):
            _well(daemon.request(path).status)
        for id in ids[KEEP:]:
            _well(daemon.post(f"/sessions/{id}/erase").status)
        done[0] += 1


def _well(status: int) -> None:
    if status not in (200, 302, 303):
        raise AssertionError(f"HTTP {status}")


def guess(daemon: Daemon, over: threading.Event) -> None:
    """Be an unknown client: open connections without sending anything, and request missing pages."""
    while not over.is_set():
        with suppress(OSError, HTTPException):
            daemon.request("/nothing-here")
            Stream(daemon.port, "/stream.mjpg").close()
        over.wait(5.0)


def run(daemon: Daemon, seconds: float, viewers: int, listeners: int) -> list[Sample]:
    """Run the load for `seconds`; print a line for each sample."""
    over, parts, messages, sessions = threading.Event(), [0], [0], [0]
    faults: list[str] = []

    def attempt(work: Callable[..., None], *arguments: object) -> None:
        try:
            work(daemon, over, *arguments)
        except Exception as error:  # end the run with the reason instead of continuing without this client
            faults.append(f"{work.__name__}: {type(error).__name__}: {error}")
            over.set()

    work: list[tuple[Callable[..., None], tuple[object, ...]]] = [
        *[(watch, (parts,))] * viewers,
        *[(listen, (messages,))] * listeners,
        (record, (sessions,)),
        (guess, ()),
    ]
    threads = [threading.Thread(target=attempt, args=(each, *more), daemon=True) for each, more in work]
    for thread in threads:
        thread.start()
    began, samples = time.monotonic(), []
    while not over.is_set() and time.monotonic() - began < seconds:
        over.wait(SAMPLE_S)
        if daemon.process.poll() is not None:
            faults.append(f"the daemon ended with {daemon.process.returncode}: {daemon.log[-2000:]}")
            break
        samples.append(look(daemon, began))
        newest = samples[-1]
        print(
            f"{newest.at_s:7.0f} s  {newest.resident_mb:7.1f} MB  {newest.threads:3d} threads  "
            f"{newest.descriptors:3d} descriptors  {parts[0]} pictures  {messages[0]} messages  "
            f"{sessions[0]} sessions",
            flush=True,
        )
    over.set()
    for thread in threads:
        thread.join(30.0)
    if faults:
        raise SystemExit("; ".join(faults))
    return samples


def judge(samples: list[Sample]) -> list[str]:
    """What is wrong with these samples."""
    settled = samples[len(samples) // 2 :]
    growth = slope_mb_an_hour(settled)
    print(
        f"second half: {growth:+.2f} MB an hour, {min(s.resident_mb for s in settled):.1f} to "
        f"{max(s.resident_mb for s in settled):.1f} MB"
    )
    wrong = []
    if growth > MOST_MB_AN_HOUR:
        wrong.append(f"memory grows by {growth:.1f} MB an hour; expected at most {MOST_MB_AN_HOUR:g}")
    quarter = max(1, len(samples) // 4)
    for name in ("threads", "descriptors"):
        first = statistics.median(getattr(each, name) for each in samples[:quarter])
        last = statistics.median(getattr(each, name) for each in samples[-quarter:])
        if last > first + MOST_MORE:
            wrong.append(f"{name} rose from {first:.0f} to {last:.0f}; expected at most {MOST_MORE} more")
    return wrong


def main() -> int:
    """Run the soak test; 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seconds", type=float, default=7200.0, help=f"at least {SHORTEST_S:g}; default: 7200"
    )
    parser.add_argument("--viewers", type=int, default=8)
    parser.add_argument("--listeners", type=int, default=4)
    options = parser.parse_args()
    if not options.seconds >= SHORTEST_S:
        parser.error(
            f"--seconds {options.seconds:g} is too short: expected at least {SHORTEST_S:g}, "
            f"three samples {SAMPLE_S:g} s apart"
        )
    with tempfile.TemporaryDirectory() as folder:
        # As the unit and the container run it.
        environment = {"MALLOC_ARENA_MAX": "1"}
        settings = ("--camera", "demo", "--set", f"web.max_viewers={options.viewers + 1}")
        with running(Path(folder), *settings, environment=environment) as daemon:
            wrong = judge(run(daemon, options.seconds, options.viewers, options.listeners))
    print("\n".join(wrong) or "memory, threads and descriptors did not grow")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
