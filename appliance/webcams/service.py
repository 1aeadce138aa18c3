"""Reads the pictures of all webcam clients in one thread, one picture after the other."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.errors import ApplianceError, Busy, PictureError
from appliance.health import Health
from appliance.pipeline import Pipeline
from appliance.values import Frame, Reading
from appliance.webcams.pictures import decode_message

log = logging.getLogger("appliance.webcams")

WAIT_S = 0.5
"""Longest wait for a picture."""


@dataclass(frozen=True)
class Waiting:
    """A message with a picture that is not read yet. `came`: monotonic seconds."""

    number: int
    came: float
    message: bytes | str


@dataclass(eq=False)
class Webcam:
    """One client, from `join` to `leave`."""

    answer: Callable[[int, Reading | Exception], None] = lambda number, result: None
    """Called in the thread of the service with the number of a picture, and its reading or why there is none.

    `PictureError`: of this picture alone. Any other exception: the client cannot be served.
    """
    pictures: int = 0
    """How many pictures came."""
    waiting: Waiting | None = field(default=None, repr=False)
    """The newest picture, until it is read."""
    began: float = 0.0
    """When the first picture came, in monotonic seconds."""
    pipeline: Pipeline | None = None


class WebcamService:
    """The webcam clients, their limit, and their pipelines.

    `step` and `close` belong to one thread, as the pipelines do; all other methods may be called from any
    thread and never wait for a reading. A client without a picture has no pipeline, so that the engines take
    memory only while someone sends pictures.
    """

    def __init__(self, open_pipeline: Callable[[], Pipeline], limit: int, health: Health) -> None:
        """`open_pipeline`: makes a pipeline, in the thread of `step`; `limit`: clients at a time."""
        self._open_pipeline, self._limit, self._health = open_pipeline, limit, health
        self._changed = threading.Condition()
        self._clients: set[Webcam] = set()
        self._ready: deque[Webcam] = deque()
        self._left: list[Webcam] = []

    @property
    def count(self) -> int:
        """Number of clients."""
        with self._changed:
            return len(self._clients)

    def refuse_at_limit(self) -> None:
        """Raises `Busy` if no further client may join."""
        with self._changed:
            if len(self._clients) >= self._limit:
                self._health.count("webcams_refused", 1)
                raise Busy(
                    f"the limit of webcams ({self._limit}) is reached; close another one or try again soon"
                )

    def join(self) -> Webcam:
        """Add a client; raises `Busy` at the limit. Needs a `leave`."""
        with self._changed:
            self.refuse_at_limit()
            webcam = Webcam()
            self._clients.add(webcam)
            return webcam

    def leave(self, webcam: Webcam) -> None:
        """Remove a client; its pipeline is closed soon. May be called twice."""
        with self._changed:
            if webcam in self._clients:
                self._clients.remove(webcam)
                webcam.waiting = None
                self._left.append(webcam)
                self._changed.notify()

    def offer(self, webcam: Webcam, message: bytes | str) -> int | None:
        """Read this picture next; the number of the picture that it replaces, which is not read any more."""
        with self._changed:
            if webcam not in self._clients:
                return None
            replaced, now = webcam.waiting, time.monotonic()
            webcam.began = webcam.began or now
            webcam.waiting = Waiting(webcam.pictures, now, message)
            webcam.pictures += 1
            if replaced is None:
                self._ready.append(webcam)
                self._changed.notify()
            return replaced.number if replaced else None

    def step(self) -> None:
        """Read one picture, or wait half a second for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._left, WAIT_S)
            left, self._left = self._left, []
            webcam = self._ready.popleft() if self._ready else None
            waiting = webcam.waiting if webcam else None
            if webcam:
                webcam.waiting = None
        for gone in left:
            _close(gone)
        if webcam and waiting:
            webcam.answer(waiting.number, self._read(webcam, waiting))

    def close(self) -> None:
        """Close every pipeline."""
        with self._changed:
            webcams = [*self._clients, *self._left]
        for webcam in webcams:
            _close(webcam)

    def _read(self, webcam: Webcam, waiting: Waiting) -> Reading | Exception:
        try:
            image = decode_message(waiting.message)
            if webcam.pipeline is None:
                webcam.pipeline = self._open_pipeline()
            frame = Frame(waiting.number, waiting.came, image, waiting.came - webcam.began)
            reading = webcam.pipeline.read(frame)
        except PictureError as error:
            self._health.count("webcams_refused", 1)
            return error
        except Exception as error:
            # Any exception: whatever a client sends must not end the session of the room.
            log.log(
                logging.ERROR,
                "a webcam client cannot be served: %s",
                error,
                exc_info=None if isinstance(error, ApplianceError) else error,
            )
            return error
        self._health.count("webcam_readings", 1)
        return reading


def _close(webcam: Webcam) -> None:
    if webcam.pipeline is not None:
        webcam.pipeline.close()
        webcam.pipeline = None
