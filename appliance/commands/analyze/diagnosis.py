"""Explains why nothing was read in a video."""

from __future__ import annotations

from collections import Counter

import numpy as np

from appliance.values import Image, Reading

_DARK, _BRIGHT, _EVEN, _NOISE = 24.0, 235.0, 3.0, 0.7
"""Limits: mean level of a dark and a bright frame, spread of a plain one, and in noise the step between
neighbouring pixels as a share of the spread."""

_EVERY_ROW = 8


class Diagnosis:
    """Collects the readings of one video."""

    def __init__(self) -> None:
        self._frames = self._faces = self._readable = 0
        self._reasons: Counter[str] = Counter()
        self._defects: Counter[str] = Counter()

    def add(self, reading: Reading) -> None:
        """Add the next reading of the video."""
        self._frames += 1
        self._faces += len(reading.people)
        self._readable += sum(person.expression.reason is None for person in reading.people)
        self._reasons.update(
            person.expression.reason for person in reading.people if person.expression.reason
        )
        if not self._faces:
            self._defects[_frame_defect(reading.frame.image)] += 1

    def describe(self) -> str | None:
        """One line if no face was found or none was readable; else None."""
        if self._frames == 0 or self._readable:
            return None
        if self._faces:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self._reasons.most_common())
            return f"no readable face in {self._frames} frames ({reasons})"
        (defect, count), *_ = self._defects.most_common(1)
        why = f": {'all' if count == self._frames else 'nearly all'} of them {defect}"
        return f"no face in {self._frames} frames{why if defect and count >= 0.9 * self._frames else ''}"


def _frame_defect(image: Image) -> str:
    """What is obviously wrong with a frame; "" if it may show something."""
    rows = image[::_EVERY_ROW].reshape(-1, image.shape[1], 3).mean(axis=2)
    mean, spread = float(rows.mean()), float(rows.std())
    if mean < _DARK:
        return "are dark"
    if mean > _BRIGHT:
        return "are overexposed"
    if spread < _EVEN:
        return "show one plain colour"
    # Neighbouring pixels of a scene are similar; in noise they differ as much as any two.
    step = float(np.diff(rows, axis=1).std()) if image.shape[1] > 1 else 0.0
    return "show noise" if step > _NOISE * spread else ""
