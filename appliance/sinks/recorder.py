"""Sums readings by person and second, and hands each finished second to the store. Numbers only."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any, Protocol

from appliance.records import REASONS, Second, Store
from appliance.sinks import Shared
from appliance.values import EMOTIONS, NOT_ANALYSED, Person, Reading

LATE_S = 1.0
"""A frame may be read so long after it was captured and still counts in its second."""

_BOX, _POSE = ("x", "y", "width", "height"), ("yaw", "pitch", "roll")


class _Session(Protocol):
    """All that the recorder knows of the session."""

    @property
    def state(self) -> str: ...

    @property
    def id(self) -> str | None: ...


class Recorder:
    """Takes readings while the session is recording; otherwise it does nothing but the store's upkeep."""

    def __init__(self, shared: Shared, store: Store, session: _Session | None = None) -> None:
        """`session`: the one of `shared` unless told otherwise."""
        self._store, self._health = store, shared.health
        self._session: Any = session or shared.session
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
        self._upkeep()

    def idle(self) -> None:
        """Nothing came for a while: hand over what is finished."""
        if self._follow() and time.monotonic() - self._began > self._second + 1 + LATE_S:
            self._flush()
        self._upkeep()

    def close(self) -> None:
        """Hand over what there is. May be called twice."""
        self._flush()

    def _upkeep(self) -> None:
        self._store.tick()
        self._health.set_store_state(self._store.status.state)

    def _follow(self) -> bool:
        """Whether a session is recorded now; the rest of one that ended is handed over first."""
        session = self._session
        id = getattr(session, "id", None) if session.state == "recording" else None
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
        self._behind: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def add(self, person: Person, skipped: int) -> None:
        """One frame, and how many before it were never looked at."""
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
            # They count over the last second, so the last frame of a second says what was completed in it.
            self._counts["nods"], self._counts["shakes"] = movement.nods, movement.shakes

    def second(self, person: int, number: int) -> Second:
        """The means; what no frame had is None."""
        means: dict[str, Any] = {
            name: self._totals[name] / self._behind[name]
            for name in (*EMOTIONS, *_BOX, *_POSE, "head", "body")
            if self._behind[name]
        }
        return Second(person, number, **means, **self._counts)

    def _add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._totals[name] += value
            self._behind[name] += 1
