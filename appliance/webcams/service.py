"""Reads the pictures of all webcam clients, and single pictures, in one thread, one after the other."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from appliance.errors import ApplianceError, Busy, PictureError
from appliance.health import Health
from appliance.pipeline import Pipeline
from appliance.values import Frame, Reading
from appliance.webcams.pictures import decode_message

log = logging.getLogger("appliance.webcams")

WAIT_S = 0.5
"""Longest wait for a picture."""

KEEP_S = 60.0
"""How long the models stay open after a single picture."""

TURN_S = 1.0
"""Longest wait for a pause of the room."""


class Models(Protocol):
    """The models that all clients share. Belongs to one thread."""

    def make_pipeline(self) -> Pipeline:
        """A pipeline with these models; it is never closed."""

    def close(self) -> None:
        """Release the models."""


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
    began: float = 0.0
    """When the first one came, in monotonic seconds."""
    waiting: Waiting | None = field(default=None, repr=False)
    """The newest picture, until it is read."""


class WebcamService:
    """The webcam clients, their limit, and the models that read their pictures.

    `step` and `close` belong to one thread, as the models do. All other methods may be called from any thread
    and never wait for a reading. The models take memory only while there are clients that sent a picture, and
    for `KEEP_S` after a single picture.
    """

    def __init__(
        self,
        open_models: Callable[[], Models],
        health: Health,
        *,
        limit: int,
        wait_turn: Callable[[float], object] = lambda limit_s: None,
    ) -> None:
        """`limit`: clients at a time.

        `wait_turn`: waits, for at most `limit_s` seconds, until a picture may be read without delaying the
        room.
        """
        self._open_models, self._health = open_models, health
        self._limit, self._wait_turn = limit, wait_turn
        self._changed = threading.Condition()
        self._clients: set[Webcam] = set()
        self._ready: deque[Webcam] = deque()  # those with a picture, in the order of its coming
        self._models: Models | None = None
        self._pipelines: dict[Webcam, Pipeline] = {}
        self._singles: deque[tuple[Callable[[Pipeline], Reading], Future[Reading]]] = deque()
        self._keep_until = 0.0
        self._is_closed = False

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
        """Remove a client. May be called twice."""
        with self._changed:
            self._clients.discard(webcam)
            webcam.waiting = None
            self._changed.notify()

    def offer(self, webcam: Webcam, message: bytes | str) -> int | None:
        """Let this picture be read; the number of a picture that it replaces, which is not read any more."""
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

    def submit(self, read: Callable[[Pipeline], Reading]) -> Future[Reading]:
        """What `read` returns for a single picture, in its turn; it gets a pipeline in the thread of `step`.

        The future raises `Busy` when no models are available.
        """
        future: Future[Reading] = Future()
        with self._changed:
            if self._is_closed:
                future.set_exception(_unavailable())
            else:
                self._singles.append((read, future))
                self._changed.notify()
        return future

    def step(self) -> None:
        """Read one picture of a client and one single picture, or wait half a second for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._singles or self._gone(), WAIT_S)
            gone = self._gone()
            webcam, waiting = self._take()
            single = self._singles.popleft() if self._singles else None
        for each in gone:
            del self._pipelines[each]
        if not self._pipelines and time.monotonic() > self._keep_until:
            self._close_models()
        if webcam and waiting:
            webcam.answer(waiting.number, self._read(webcam, waiting))
        if single:
            self._read_single(*single)

    def close(self) -> None:
        """Close the models, for good."""
        with self._changed:
            self._is_closed = True
            singles, self._singles = self._singles, deque()
        for _, future in singles:
            future.set_exception(_unavailable())
        self._close_models()

    def _close_models(self) -> None:
        self._pipelines.clear()
        if self._models is not None:
            self._models.close()
            self._models = None

    def _gone(self) -> set[Webcam]:
        """The clients that have left, and whose pipelines are still here."""
        return self._pipelines.keys() - self._clients

    def _take(self) -> tuple[Webcam | None, Waiting | None]:
        """The client whose turn it is, and its picture; none if it has left."""
        webcam = self._ready.popleft() if self._ready else None
        waiting = webcam.waiting if webcam else None
        if webcam:
            webcam.waiting = None
        return webcam, waiting

    def _read(self, webcam: Webcam, waiting: Waiting) -> Reading | Exception:
        self._wait_turn(TURN_S)
        try:
            image = decode_message(waiting.message)
            frame = Frame(waiting.number, waiting.came, image, waiting.came - webcam.began)
            reading = self._pipeline_of(webcam).read(frame)
        except PictureError as error:
            self._health.count("webcams_refused", 1)
            return error
        except Exception as error:
            # Any exception: whatever a client sends must not end the session of the room.
            _log_fault("a webcam client cannot be served", error)
            return error
        self._health.count("webcam_readings", 1)
        return reading

    def _read_single(self, read: Callable[[Pipeline], Reading], future: Future[Reading]) -> None:
        self._wait_turn(TURN_S)
        try:
            future.set_result(read(self._make_pipeline()))
        except Exception as error:
            # Any exception, for the same reason.
            _log_fault("a single picture cannot be read", error)
            future.set_exception(_unavailable())
        self._keep_until = time.monotonic() + KEEP_S

    def _pipeline_of(self, webcam: Webcam) -> Pipeline:
        if webcam not in self._pipelines:
            self._pipelines[webcam] = self._make_pipeline()
        return self._pipelines[webcam]

    def _make_pipeline(self) -> Pipeline:
        if self._models is None:
            self._models = self._open_models()
        return self._models.make_pipeline()


def _log_fault(what: str, error: Exception) -> None:
    log.error("%s: %s", what, error, exc_info=None if isinstance(error, ApplianceError) else error)


def _unavailable() -> Busy:
    return Busy("the picture cannot be read now; see the device's log")
