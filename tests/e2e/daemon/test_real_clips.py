"""`analyze` on real videos of real people, if such clips are next to the checkout."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any


def readings(clip: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "appliance", "analyze", "--jsonl", str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_person_keeps_one_number_and_begins_to_smile(shared_data: Path) -> None:
    frames = readings(shared_data / "videos" / "pyfeat_single_face.mp4")
    labels = [face["label"] for frame in frames for face in frame["faces"]]
    assert {face["id"] for frame in frames for face in frame["faces"]} == {1}
    assert len(labels) >= 0.95 * len(frames)
    assert Counter(labels[:15]).most_common(1)[0][0] == "neutral"
    assert Counter(labels[-15:]).most_common(1)[0][0] == "happy"


def test_a_person_who_moves_and_grimaces_keeps_the_number(shared_data: Path) -> None:
    frames = readings(shared_data / "videos" / "pyfeat_WolfgangLanger_Pexels.mp4")
    numbers = Counter(face["id"] for frame in frames for face in frame["faces"])
    assert set(numbers) == {1} and numbers[1] >= 0.95 * len(frames)


def test_a_cartoon_is_rarely_detected_as_a_person(shared_data: Path) -> None:
    frames = readings(shared_data / "videos" / "pyfeat_no_face.mp4")
    assert sum(bool(frame["faces"]) for frame in frames) <= 0.1 * len(frames)
