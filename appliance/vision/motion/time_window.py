"""Numbers over time: the last seconds of them, and how much of them is noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
"""Shape (samples,) or (samples, columns), the newest last."""

_LOW_THIRD = 0.4307
"""A third of all normally distributed numbers lie within so many standard deviations."""

_ROOM = 256
"""Rows for which there is room at once: copying all of them for each new one would cost more."""

_ENOUGH = 8
"""From fewer bends nothing is said of the noise."""


class History:
    """Rows of numbers with the seconds at which they were taken; what is older than `span_s` is dropped."""

    def __init__(self, columns: int, span_s: float) -> None:
        self._span_s = span_s
        self._rows: Series = np.empty((_ROOM, 1 + columns))  # the times are the first column
        self._first = self._end = 0

    @property
    def times(self) -> Series:
        """When the rows were taken, shape (rows,)."""
        return self._rows[self._first : self._end, 0]

    @property
    def values(self) -> Series:
        """The rows, shape (rows, columns)."""
        return self._rows[self._first : self._end, 1:]

    def add(self, now: float, *row: float) -> None:
        """One more row, taken at `now`."""
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
        """Begin anew."""
        self._first = self._end

    @property
    def lasted(self) -> float:
        """The seconds from the oldest row to the newest."""
        times = self.times
        return float(times[-1] - times[0]) if len(times) else 0.0


def jitter(values: Series, unknown: float) -> float:
    """The standard deviation of what differs from sample to sample, in the worst column.

    Measured by how much three samples in a row bend (a steady movement does not), and by the smaller third of
    the bends, since somebody may be nodding for half of the time. `unknown` when there are too few.
    """
    bends = np.abs(values[2:] - 2.0 * values[1:-1] + values[:-2])
    if len(bends) < _ENOUGH:
        return unknown
    third = len(bends) // 3
    # Noise of variance 1 bends with variance 1 + 4 + 1.
    return float(np.partition(bends, third, axis=0)[third].max()) / (_LOW_THIRD * math.sqrt(6.0))
