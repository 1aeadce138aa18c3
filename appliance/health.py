"""Health of the appliance: heartbeats of the workers, camera and store state, counters, overall status."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from appliance.errors import WorkerStuck
from appliance.values import Frame

FRESH_S = 2.0
"""Age in seconds from which the newest frame no longer counts as live."""

STARTING_S = 8.0
"""Seconds that a camera may take for its first frame; the fault lamp stays dark meanwhile."""


@dataclass(frozen=True)
class CameraStatus:
    """The camera's state (`open`, `closed`, `lost`), the reason, and its start in Unix seconds.

    `lamp_failed`: the camera stays closed because its lamp cannot be lit.
    """

    backend: str
    state: str = "closed"
    reason: str | None = None
    since: float = 0.0
    lamp_failed: bool = False


@dataclass(frozen=True)
class FrameInfo:
    """Number, time of capture (monotonic seconds) and size in pixels of a frame, without its picture."""

    number: int
    captured: float
    width: int
    height: int


@dataclass
class Rate:
    """Events a second over the last `window_s` seconds."""

    window_s: float = 3.0
    stamps: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    def add(self, now: float) -> None:
        """Add an event at `now`."""
        self.stamps.append(now)

    def value(self, now: float) -> float:
        """Events a second; 0 for fewer than two events in the window."""
        recent = [stamp for stamp in self.stamps if now - stamp <= self.window_s]
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return 0.0
        return (len(recent) - 1) / (recent[-1] - recent[0])


@dataclass(frozen=True)
class _Heartbeat:
    """A worker's last heartbeat, with its stage and kernel thread id; the next is due within `limit_s`."""

    at: float
    limit_s: float
    stage: str
    thread: int


class Health:
    """Collects what the parts report. All methods may be called from any thread."""

    def __init__(self, backend: str) -> None:
        self._lock = threading.Lock()
        self._heartbeats: dict[str, _Heartbeat] = {}
        self._camera = CameraStatus(backend, since=time.time())
        self._frame: FrameInfo | None = None
        self._store_state = "ok"
        self.accelerator_failed = False
        """Whether the CPU runs the models because the accelerator failed."""
        self.throttling = ""
        """Why the board runs slower, in words; "" if it does not."""
        self._rates = {"camera": Rate(), "vision": Rate()}
        self.counts: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    # --- workers ---

    def heartbeat(self, worker: str, limit_s: float, stage: str = "") -> None:
        """Record that a worker begins a step; the next heartbeat is due within `limit_s` seconds."""
        with self._lock:
            self._heartbeats[worker] = _Heartbeat(time.monotonic(), limit_s, stage, threading.get_native_id())

    def extend_deadlines(self, seconds: float, denied: Mapping[int, float] | None = None) -> None:
        """Exclude these seconds for all workers: none could run.

        `denied`: kernel id of a thread to the seconds in which that thread could not run.
        """
        now = time.monotonic()
        with self._lock:
            for worker, last in self._heartbeats.items():
                excused = max(seconds, (denied or {}).get(last.thread, 0.0))
                self._heartbeats[worker] = replace(last, at=min(last.at + excused, now))

    def remove_worker(self, worker: str) -> None:
        """Expect no more heartbeats of a worker that has ended."""
        with self._lock:
            self._heartbeats.pop(worker, None)

    def check_heartbeats(self) -> None:
        """Raise `WorkerStuck` for the first worker whose heartbeat is overdue."""
        now = time.monotonic()
        with self._lock:
            heartbeats = dict(self._heartbeats)
        for worker, last in heartbeats.items():
            if now - last.at > last.limit_s:
                during = f" in {last.stage}" if last.stage else ""
                raise WorkerStuck(
                    f"{worker} made no progress for {now - last.at:.1f} s{during} (limit {last.limit_s:g} s)"
                )

    # --- camera ---

    def set_camera_state(self, state: str, reason: str | None = None, *, lamp_failed: bool = False) -> None:
        """Set the camera's state; `since` changes only with the state."""
        with self._lock:
            since = self._camera.since if state == self._camera.state else time.time()
            self._camera = CameraStatus(self._camera.backend, state, reason, since, lamp_failed)
            if state != "open":
                self._frame = None
                self._rates["camera"].stamps.clear()

    def record_frame(self, frame: Frame) -> None:
        """Record a captured frame."""
        self.count("frames", 1)
        with self._lock:
            self._frame = FrameInfo(frame.number, frame.captured, frame.width, frame.height)
            self._rates["camera"].add(frame.captured)

    def record_reading(self, skipped: int, **stage_seconds: float) -> None:
        """Record a frame that passed the pipeline; `stage_seconds`: the duration of each stage."""
        with self._lock:
            self.counts["readings"] += 1
            self.counts["skipped"] += skipped
            self._rates["vision"].add(time.monotonic())
            self.seconds.update(stage_seconds)

    @property
    def camera(self) -> CameraStatus:
        """The camera's state."""
        with self._lock:
            return self._camera

    def set_store_state(self, state: str) -> None:
        """Set the state of the store, as in its `Status`."""
        self._store_state = state

    @property
    def store_state(self) -> str:
        """State of the store: `ok`, `full`, `failed`, `read_only` or `set_aside`."""
        return self._store_state

    @property
    def newest_frame(self) -> FrameInfo | None:
        """The newest frame from the open camera, or None."""
        with self._lock:
            return self._frame

    def frame_age(self) -> float | None:
        """Age of the newest frame in seconds; None without one."""
        frame = self.newest_frame
        return None if frame is None else time.monotonic() - frame.captured

    def rate(self, name: str) -> float:
        """Frames a second of `camera` or `vision`."""
        with self._lock:
            return self._rates[name].value(time.monotonic())

    def count(self, name: str, amount: int) -> None:
        """Increase a counter of the metrics."""
        with self._lock:
            self.counts[name] += amount

    def totals(self) -> tuple[dict[str, int], dict[str, float]]:
        """Copies of the counters and of the seconds spent in each stage."""
        with self._lock:
            return dict(self.counts), dict(self.seconds)

    def status(self, session_state: str, live_s: float) -> tuple[str, str | None]:
        """The status (`ok`, `idle`, `starting`, `failing`) and its reason for `/healthz`.

        `live_s`: seconds since the camera may be open. The reason is public: the camera's own, which may name
        files and devices, is in `camera`.
        """
        if session_state in ("idle", "paused"):
            return "idle", None
        camera, age = self.camera, self.frame_age()
        if camera.state == "lost":
            return "failing", "camera lost"
        if age is None:
            return "starting" if live_s < STARTING_S else "failing", "no frame yet"
        if age >= FRESH_S:
            return "failing", f"the newest frame is {age:.1f} s old"
        return "ok", None
