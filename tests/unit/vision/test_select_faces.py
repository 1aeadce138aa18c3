"""Of too many people, who is read: a pure function."""

from __future__ import annotations

from appliance.vision.detection.select_faces import chosen
from tests.fakes.parts import face


def test_enough_room_for_all() -> None:
    faces = [face(100, 100, 20), face(300, 100, 90)]
    assert chosen(faces, (), 2) == faces


def test_without_history_the_largest() -> None:
    small, large, middle = face(100, 100, 20), face(300, 100, 90), face(500, 100, 50)
    assert chosen([small, large, middle], (), 2) == [large, middle]


def test_a_newcomer_a_little_larger_waits() -> None:
    followed, newcomer = face(100, 100, 50), face(300, 100, 65)
    assert chosen([newcomer, followed], [followed.box.moved(5, 0)], 1) == [followed]


def test_a_clearly_larger_newcomer_is_read() -> None:
    followed, newcomer = face(100, 100, 50), face(300, 100, 80)
    assert chosen([newcomer, followed], [followed.box], 1) == [newcomer]
