"""How the appliance is: beats of the workers, the camera's state, counters; and what follows from them."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from appliance.errors import WorkerStuck
from appliance.values import Frame

FRESH_S = 2.0
"""A frame older than this is not live any more."""

STARTING_S = 8.0
"""So long a camera may take for its first frame; no fault lamp meanwhile."""


@dataclass(frozen=True)
class CameraStatus:
    """The camera's state (`open`, `closed`, `lost`), why, and since when (Unix seconds).

    `lamp_failed`: it is kept closed because its lamp cannot be lit.
    """

    backend: str
    state: str = "closed"
    reason: str | None = None
    since: float = 0.0
    lamp_failed: bool = False


@dataclass
class Rate:
    """Events a second over the last few seconds."""

    window_s: float = 3.0
    stamps: deque[float] = field(default_factory=lambda: deque(maxlen=256))

    def add(self, now: float) -> None:
        """One event."""
        self.stamps.append(now)

    def value(self, now: float) -> float:
        """Events a second; 0 when nothing came within the window."""
        recent = [stamp for stamp in self.stamps if now - stamp <= self.window_s]
        if len(recent) < 2 or recent[-1] <= recent[0]:
            return 0.0
        return (len(recent) - 1) / (recent[-1] - recent[0])


@dataclass(frozen=True)
class _Beat:
    """When a worker promised to beat again within `limit_s` seconds, in what stage, and in which thread."""

    at: float
    limit_s: float
    stage: str
    thread: int


class Health:
    """Gathers what every part reports; all methods may be called from any thread."""

    def __init__(self, backend: str) -> None:
        self._lock = threading.Lock()
        self._beats: dict[str, _Beat] = {}
        self._camera = CameraStatus(backend, since=time.time())
        self._frame: tuple[int, float, int, int] | None = None
        self._records = "ok"
        self.accelerator_failed = False
        """Whether the CPU reads because the accelerator failed."""
        self.throttling = ""
        """Why the board runs slower, in words; "" if it does not."""
        self._rates = {"camera": Rate(), "vision": Rate()}
        self.counts: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    # --- workers ---

    def beat(self, worker: str, limit_s: float, stage: str = "") -> None:
        """The worker begins a step and promises the next beat within `limit_s` seconds."""
        with self._lock:
            self._beats[worker] = _Beat(time.monotonic(), limit_s, stage, threading.get_native_id())

    def forgive(self, seconds: float, denied: Mapping[int, float] | None = None) -> None:
        """These seconds do not count for any worker: none could run in them.

        `denied`: by the kernel's number of a thread, for how many seconds that thread could not run.
        """
        now = time.monotonic()
        with self._lock:
            for worker, beat in self._beats.items():
                forgiven = max(seconds, (denied or {}).get(beat.thread, 0.0))
                self._beats[worker] = replace(beat, at=min(beat.at + forgiven, now))

    def forget(self, worker: str) -> None:
        """The worker has ended; it owes no more beats."""
        with self._lock:
            self._beats.pop(worker, None)

    def check_beats(self) -> None:
        """Raises `WorkerStuck` for the first worker that has not kept its promise."""
        now = time.monotonic()
        with self._lock:
            beats = dict(self._beats)
        for worker, beat in beats.items():
            if now - beat.at > beat.limit_s:
                during = f" in {beat.stage}" if beat.stage else ""
                raise WorkerStuck(
                    f"{worker} has not moved for {now - beat.at:.1f} s{during} (limit {beat.limit_s:g} s)"
                )

    # --- camera ---

    def camera_is(self, state: str, reason: str | None = None, *, lamp_failed: bool = False) -> None:
        """The camera changed its state; `since` moves only when the state really changes."""
        with self._lock:
            since = self._camera.since if state == self._camera.state else time.time()
            self._camera = CameraStatus(self._camera.backend, state, reason, since, lamp_failed)
            if state != "open":
                self._frame = None
                self._rates["camera"].stamps.clear()

    def saw_frame(self, frame: Frame) -> None:
        """A frame was captured."""
        self.count("frames", 1)
        with self._lock:
            self._frame = (frame.number, frame.captured, frame.width, frame.height)
            self._rates["camera"].add(frame.captured)

    def saw_reading(self, skipped: int, **stage_seconds: float) -> None:
        """A frame went through the pipeline; `stage_seconds` is how long each stage took."""
        with self._lock:
            self.counts["readings"] += 1
            self.counts["skipped"] += skipped
            self._rates["vision"].add(time.monotonic())
            self.seconds.update(stage_seconds)

    @property
    def camera(self) -> CameraStatus:
        """The camera's state now."""
        with self._lock:
            return self._camera

    def records_are(self, state: str) -> None:
        """How the records are: the state of the store's `Status`."""
        self._records = state

    @property
    def records(self) -> str:
        """How the records are now: `ok`, `full`, `failed`, `read_only` or `set_aside`."""
        return self._records

    def frame_age(self) -> float | None:
        """Seconds since the newest frame was captured; None when there is none."""
        with self._lock:
            return None if self._frame is None else time.monotonic() - self._frame[1]

    def rate(self, name: str) -> float:
        """Frames a second of `camera` or `vision`."""
        with self._lock:
            return self._rates[name].value(time.monotonic())

    def count(self, name: str, amount: int) -> None:
        """Add to a counter that the metrics show."""
        with self._lock:
            self.counts[name] += amount

    def totals(self) -> tuple[dict[str, int], dict[str, float]]:
        """The counters, and the seconds spent in each stage, as they are now."""
        with self._lock:
            return dict(self.counts), dict(self.seconds)

    def camera_json(self) -> dict[str, object]:
        """The `camera` object of `/api/state`."""
        camera, age, rate = self.camera, self.frame_age(), self.rate("camera")
        with self._lock:
            number, _, width, height = self._frame or (None, 0.0, None, None)
        return {
            "backend": camera.backend,
            "state": camera.state,
            "reason": camera.reason,
            "since": round(camera.since, 3),
            "frame": number,
            "age_s": None if age is None else round(age, 3),
            "fps": round(rate, 1),
            "width": width,
            "height": height,
        }

    def verdict(self, session_state: str, live_s: float) -> tuple[str, str | None]:
        """(`ok`, `idle`, `starting` or `failing`, and why) for `/healthz`, `live_s` seconds after the start.

        The reason is for everybody: the camera's own, which may name files and devices, is in `camera`.
        """
        if session_state == "idle":
            return "idle", None
        camera, age = self.camera, self.frame_age()
        if camera.state == "lost":
            return "failing", "camera lost"
        if age is None:
            return "starting" if live_s < STARTING_S else "failing", "no frame yet"
        if age >= FRESH_S:
            return "failing", f"the newest frame is {age:.1f} s old"
        return "ok", None
