"""Which faces are read when there are too many."""

from __future__ import annotations

from appliance.vision.detection.select_faces import select_faces
from tests.fakes.parts import face


def test_all_faces_within_the_limit_are_selected() -> None:
    faces = [face(100, 100, 20), face(300, 100, 90)]
    assert select_faces(faces, (), 2) == faces


def test_without_tracks_the_largest_are_selected() -> None:
    small, large, middle = face(100, 100, 20), face(300, 100, 90), face(500, 100, 50)
    assert select_faces([small, large, middle], (), 2) == [large, middle]


def test_a_slightly_larger_newcomer_is_not_selected() -> None:
    followed, newcomer = face(100, 100, 50), face(300, 100, 65)
    assert select_faces([newcomer, followed], [followed.box.moved(5, 0)], 1) == [followed]


def test_a_clearly_larger_newcomer_is_selected() -> None:
    followed, newcomer = face(100, 100, 50), face(300, 100, 80)
    assert select_faces([newcomer, followed], [followed.box], 1) == [newcomer]
