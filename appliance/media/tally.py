"""What became of the inputs of a command: its last line on standard error."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from appliance.media.inputs import skipped_words
from appliance.values import Reading


@dataclass
class Tally:
    """Counts of files, frames and faces; `skipped` by reason, `beyond_limit` and `lost` of videos alone."""

    pictures: int = 0
    videos: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    faces: int = 0
    beyond_limit: int = 0
    lost: int = 0

    def count(self, reading: Reading) -> None:
        """One more frame that was read."""
        self.frames += 1
        self.faces += len(reading.people)
        self.beyond_limit += reading.beyond_limit

    def line(self) -> str:
        """All of it in one line, in the same order each time."""
        skipped = self.skipped.total()
        why = f" ({skipped_words(self.skipped)})" if skipped else ""
        return (
            f"read {_many(self.pictures, 'picture')} and {_many(self.videos, 'video')},"
            f" {self.failed} failed, {skipped} skipped{why};"
            f" {_many(self.frames, 'frame')}, {_many(self.faces, 'face')},"
            f" {_many(self.beyond_limit, 'face')} beyond vision.max_people, {_many(self.lost, 'frame')} lost"
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
