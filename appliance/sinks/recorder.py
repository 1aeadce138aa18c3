"""Sums readings by person and second, and passes each finished second to the store. Numbers only."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any, Protocol

from appliance.health import Health
from appliance.records import REASONS, Second, Store
from appliance.values import EMOTIONS, NOT_ANALYSED, Person, Reading

LATE_S = 1.0
"""A frame that is read up to this many seconds after its capture still counts in its second."""

_BOX, _POSE = ("x", "y", "width", "height"), ("yaw", "pitch", "roll")


class RecordedSession(Protocol):
    """What the recorder needs to know of the session."""

    @property
    def state(self) -> str:
        """`recording` while readings are to be recorded."""

    @property
    def id(self) -> str | None:
        """The session's id in the store; None while there is none."""


class Recorder:
    """Records readings while the session is recording; maintains the store at all times."""

    def __init__(self, store: Store, session: RecordedSession, health: Health) -> None:
        self._store, self._session, self._health = store, session, health
        self._id: str | None = None
        self._began = 0.0
        self._second = 0
        self._sums: dict[int, _Sums] = {}

    def take(self, reading: Reading) -> None:
        """Count a reading in the second in which it was captured."""
        if self._follow():
            second = int(reading.frame.captured - self._began)
            if second > self._second:
                self._flush()
                self._second = second
            if second == self._second and reading.frame.captured >= self._began:
                self._count(reading)
        self._maintain()

    def idle(self) -> None:
        """Pass the finished second to the store when no readings arrive."""
        if self._follow() and time.monotonic() - self._began > self._second + 1 + LATE_S:
            self._flush()
        self._maintain()

    def close(self) -> None:
        """Pass everything to the store. May be called twice."""
        self._flush()

    def _maintain(self) -> None:
        self._store.tick()
        self._health.set_store_state(self._store.status.state)

    def _follow(self) -> bool:
        """Whether a session is being recorded; first flushes a session that ended."""
        session = self._session
        id = session.id if session.state == "recording" else None
        if id != self._id:
            self._flush()
            self._id = None
        if id is None:
            return False
        if self._id is None:
            began = self._store.began(id)
            if began is None:
                return False
            self._id, self._began, self._second = id, began, 0
        return True

    def _count(self, reading: Reading) -> None:
        for person in reading.people:
            if person.label != NOT_ANALYSED:
                self._sums.setdefault(person.id, _Sums()).add(person, reading.skipped)

    def _flush(self) -> None:
        sums, self._sums = self._sums, {}
        if sums and self._id is not None:
            self._store.add(self._id, [each.second(person, self._second) for person, each in sums.items()])


class _Sums:
    """One person's frames of one second."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = defaultdict(float)
        self._samples: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def add(self, person: Person, skipped: int) -> None:
        """Add one frame, and the number of frames skipped before it."""
        expression, movement = person.expression, person.movement
        self._counts.update(frames=1, skipped=skipped)
        if expression.scores is not None:
            self._counts["scored"] += 1
            self._add(expression.scores.named())
        elif expression.reason in REASONS:
            self._counts[expression.reason] += 1
        self._add({side: getattr(person.face.box, side) for side in _BOX})
        if expression.pose is not None:
            self._add({angle: getattr(expression.pose, angle) for angle in _POSE})
        if movement is not None:
            self._add({"head": movement.head})
            if movement.body is not None:
                self._add({"body": movement.body})
            # Counted over the last second: the last frame of a second has the count of that second.
            self._counts["nods"], self._counts["shakes"] = movement.nods, movement.shakes

    def second(self, person: int, number: int) -> Second:
        """The means over the frames that have a value; None if no frame has one."""
        means: dict[str, Any] = {
            name: self._totals[name] / self._samples[name]
            for name in (*EMOTIONS, *_BOX, *_POSE, "head", "body")
            if self._samples[name]
        }
        return Second(person, number, **means, **self._counts)

    def _add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._totals[name] += value
            self._samples[name] += 1
