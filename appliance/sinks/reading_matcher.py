"""Finds the reading to show with a picture, and waits for it if it is about to come."""

from __future__ import annotations

import time
from dataclasses import replace

from appliance.handoff import Slot
from appliance.values import Consent, Frame, Reading

OLDEST_S = 0.1
"""Without a reading of its own, a picture shows the newest earlier one up to this age, by capture time."""

LONGEST_WAIT_S = 0.05
"""No picture waits longer than this after its capture."""

LONGEST_FOLLOWED_S = 0.5
"""Pictures follow readings while the next one is ready within this time."""

_SMOOTHING = 0.2  # share of the newest value in a mean
_FALL = 0.1  # share of the newest age: one reading that was late is remembered for about a second
_ENTER, _LEAVE = 1.0, 0.8  # of `OLDEST_S`, so that the rule does not change with each frame


class ReadingMatcher:
    """Matches readings to frames. Belongs to one thread.

    A frame waits for its own reading only while vision keeps up with the camera, that is while readings are
    ready before the next frame is captured. Otherwise the picture leaves at once, at the camera's rate, with
    an earlier reading. While vision is so slow that this one gets too old, boxes would flicker or be absent:
    then pictures follow the readings, and only frames that were read are shown.
    """

    def __init__(self, readings: Slot[Reading]) -> None:
        self._readings = readings
        self._seen = 0
        self._newest: Reading | None = None
        self._earlier: Reading | None = None
        self._frame: tuple[int, float] | None = None  # number and capture time of the last one
        self._interval_s = LONGEST_WAIT_S
        self._age_s = 0.0
        self._follows = False
        self._limits: tuple[int, Consent | None] | None = None

    def begin(self, consent_epoch: int, consent: Consent | None) -> None:
        """State the limits in force; readings under any others are forgotten. Called before each frame."""
        before, self._limits = self._limits, (consent_epoch, consent)
        if before is not None and before != self._limits:
            self._seen = self._readings.number
            self._newest = self._earlier = None
            self._age_s, self._follows = 0.0, False

    def follows_readings(self, frame: Frame) -> bool:
        """Whether `next_reading` chooses the picture instead of this frame."""
        self._measure(frame)
        last = self._newest
        return (
            self._follows
            and last is not None
            and frame.captured - last.stamps.classified < LONGEST_FOLLOWED_S
        )

    def next_reading(self, frame: Frame) -> Reading | None:
        """The next reading with its frame, None if there is none before the frame after this one is due.

        Raises `SlotClosed` once the slot is closed.
        """
        return self._take(frame.captured + self._interval_s - time.monotonic())

    def reading_for(self, frame: Frame) -> Reading | None:
        """The reading of this frame, or a recent earlier one, without pixels; waits as the class says.

        Raises `SlotClosed` once the slot is closed.
        """
        until = frame.captured + self._interval_s
        while self._newest is None or self._newest.frame.number < frame.number:
            wait_s = until - time.monotonic() if self._keeps_up else 0.0
            if self._take(wait_s) is None:
                break
        fitting = (each for each in (self._newest, self._earlier) if each and self._fits(each, frame))
        return next(fitting, None)

    def _take(self, wait_s: float) -> Reading | None:
        before = self._seen
        reading, self._seen = self._readings.take(before, max(0.0, wait_s))
        if reading is not None:
            kept = replace(reading, frame=reading.frame.without_pixels())
            self._earlier, self._newest = self._newest, kept
            if self._seen == before + 1:  # none was missed, as while no one watched
                self._measure_age()
        return reading

    @property
    def _keeps_up(self) -> bool:
        if self._newest is None:
            return True
        stamps = self._newest.stamps
        return stamps.classified - stamps.captured <= self._interval_s

    def _measure(self, frame: Frame) -> None:
        if self._frame is not None and frame.number > self._frame[0]:
            number, captured = self._frame
            interval_s = min((frame.captured - captured) / (frame.number - number), LONGEST_WAIT_S)
            self._interval_s += _SMOOTHING * (interval_s - self._interval_s)
        self._frame = frame.number, frame.captured

    def _measure_age(self) -> None:
        """Update how old a reading gets before the next one is ready, and what follows from it."""
        if self._newest is None or self._earlier is None:
            return
        age_s = min(self._newest.stamps.classified - self._earlier.stamps.captured, LONGEST_FOLLOWED_S)
        # A mean would fall below the limit between late readings, and boxes would vanish at each of them.
        self._age_s = max(age_s, self._age_s + _FALL * (age_s - self._age_s))
        self._follows = self._age_s > OLDEST_S * (_LEAVE if self._follows else _ENTER)

    @staticmethod
    def _fits(reading: Reading, frame: Frame) -> bool:
        of = reading.frame
        return (
            of.consent_epoch == frame.consent_epoch
            and of.number <= frame.number
            and frame.captured - of.captured < OLDEST_S
        )
