"""What a command over files reports on standard error: notes, and a summary of its inputs."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field, fields

from tqdm import tqdm

from appliance.media.inputs import describe_skipped
from appliance.system.terminal import escape_controls
from appliance.values import Reading


@dataclass
class RunCounts:
    """Counts of files, frames and faces; `skipped` by reason; `beyond_limit` and `lost` only of videos."""

    pictures: int = 0
    videos: int = 0
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    faces: int = 0
    beyond_limit: int = 0
    lost: int = 0

    def add(self, reading: Reading) -> None:
        """Count one more frame that was read."""
        self.frames += 1
        self.faces += len(reading.people)
        self.beyond_limit += reading.beyond_limit

    def merge(self, more: RunCounts) -> None:
        """Add the counts of other inputs."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(more, each.name))

    def summary(self) -> str:
        """All counts in one line, always in the same order."""
        skipped = self.skipped.total()
        why = f" ({describe_skipped(self.skipped)})" if skipped else ""
        return (
            f"read {_plural(self.pictures, 'picture')} and {_plural(self.videos, 'video')},"
            f" {self.failed} failed, {skipped} skipped{why};"
            f" {_plural(self.frames, 'frame')}, {_plural(self.faces, 'face')},"
            f" {_plural(self.beyond_limit, 'face')} beyond vision.max_people,"
            f" {_plural(self.lost, 'frame')} lost"
        )


@dataclass(frozen=True)
class Note:
    """A line for standard error about an input, for `print_note`."""

    text: str


def print_note(text: str) -> None:
    """Print a line on standard error, above any progress bar; control characters are escaped."""
    tqdm.write(f"interview-grader: {escape_controls(text)}", file=sys.stderr)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
