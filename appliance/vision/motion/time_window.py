"""A sliding time window of samples, and the noise in them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
"""float64, shape (samples,) or (samples, columns), the newest last."""

_LOW_THIRD = 0.4307
"""A third of a normal distribution is within this many standard deviations."""

_ROOM = 256
"""Rows that are allocated at once: copying all rows for each new one would cost more."""

_ENOUGH = 8
"""The fewest bends for a noise estimate."""


class TimeWindow:
    """Rows of values with their times in seconds; rows older than `span_s` are dropped."""

    def __init__(self, columns: int, span_s: float) -> None:
        self._span_s = span_s
        self._rows: Series = np.empty((_ROOM, 1 + columns))  # the times are the first column
        self._first = self._end = 0

    @property
    def times(self) -> Series:
        """Times of the rows in seconds, shape (rows,)."""
        return self._rows[self._first : self._end, 0]

    @property
    def values(self) -> Series:
        """The rows, shape (rows, columns)."""
        return self._rows[self._first : self._end, 1:]

    def add(self, now: float, *row: float) -> None:
        """Add a row taken at `now`."""
        rows = self._rows
        while self._first < self._end and rows[self._first, 0] < now - self._span_s:
            self._first += 1
        if self._end == len(rows):
            kept = rows[self._first :]
            self._rows = rows = np.empty((len(kept) + _ROOM, rows.shape[1]))
            self._first, self._end = 0, len(kept)
            rows[: self._end] = kept
        rows[self._end] = now, *row
        self._end += 1

    def clear(self) -> None:
        """Drop all rows."""
        self._first = self._end

    @property
    def lasted(self) -> float:
        """Seconds from the oldest row to the newest; 0 without rows."""
        times = self.times
        return float(times[-1] - times[0]) if len(times) else 0.0


def jitter(values: Series, unknown: float) -> float:
    """Standard deviation of the noise between samples, in the worst column; `unknown` for too few samples.

    Measured by the bend of three consecutive samples, which steady movement does not have, over the smaller
    third of the bends, because a person may nod for half of the time. `values`: shape (samples, columns).
    """
    bends = np.abs(values[2:] - 2.0 * values[1:-1] + values[:-2])
    if len(bends) < _ENOUGH:
        return unknown
    third = len(bends) // 3
    # Noise of variance 1 bends with variance 1 + 4 + 1.
    return float(np.partition(bends, third, axis=0)[third].max()) / (_LOW_THIRD * math.sqrt(6.0))
