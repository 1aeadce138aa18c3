"""Two people in one picture: each keeps their number and their expression."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from typing import Any

import pytest

from tests.e2e.daemon.driver import Daemon

WATCH_S = 5.0


@pytest.fixture(scope="module")
def readings(demo: Daemon) -> list[Any]:
    """The readings of five seconds."""
    found = []
    with demo.live() as client:
        end = time.monotonic() + WATCH_S
        while time.monotonic() < end:
            found.append(json.loads(client.recv(10)))
    return found


def test_each_person_keeps_number_place_and_expression(readings: list[Any]) -> None:
    both = [reading for reading in readings if len(reading["faces"]) == 2]
    assert len(both) >= 0.9 * len(readings) >= 20, Counter(len(reading["faces"]) for reading in readings)
    assert {face["id"] for reading in readings for face in reading["faces"]} == {1, 2}
    labels, sides = defaultdict(Counter), defaultdict(Counter)
    for reading in both:
        for side, face in zip(("left", "right"), sorted(reading["faces"], key=left_edge), strict=True):
            labels[face["id"]][face["label"]] += 1
            sides[face["id"]][side] += 1
    assert all(len(each) == 1 for each in sides.values()), sides
    assert all(len(each) == 1 for each in labels.values()), labels
    smiling = next(number for number, each in sides.items() if each["left"])
    assert set(labels[smiling]) == {"happy"}
    assert set(labels[3 - smiling]) == {"neutral"}


def test_smoothed_scores_are_each_persons_own(readings: list[Any]) -> None:
    for reading in readings:
        for face in reading["faces"]:
            raw, smoothed = face["emotions_raw"], face["emotions"]
            other = next((each for each in reading["faces"] if each["id"] != face["id"]), None)
            if other is not None:
                assert apart(smoothed, raw) < apart(smoothed, other["emotions_raw"])


def apart(one: dict[str, float], other: dict[str, float]) -> float:
    return sum(abs(one[name] - other[name]) for name in one)


def left_edge(face: Any) -> float:
    return float(face["box"][0])
