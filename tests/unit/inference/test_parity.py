"""When two engines have parity."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from appliance.inference.parity import measure_parity

SEVEN = [0.1, 0.0, 0.0, 0.8, 0.0, 0.0, 0.1]
FACES: list[list[dict[str, Any]]] = [
    [
        {"box": [10, 10, 100, 100], "score": [0.9], "expression": SEVEN},
        {"box": [300, 10, 80, 80], "score": [0.8], "expression": []},
    ],
    [],
]


def changed(**change: Any) -> list[list[dict[str, Any]]]:
    found = deepcopy(FACES)
    found[0][0].update(change)
    return found


def test_the_same_answers_have_parity_in_any_order() -> None:
    found = deepcopy(FACES)
    found[0].reverse()
    parity = measure_parity(FACES, found)
    assert parity.holds and (parity.faces, parity.missing, parity.overlap) == (2, 0, 1.0)


@pytest.mark.parametrize(
    ("found", "agrees"),
    [
        (changed(box=[12, 10, 100, 100]), True),
        (changed(box=[25, 10, 100, 100]), False),
        (changed(score=[0.85]), True),
        (changed(score=[0.75]), False),
        (changed(expression=[0.15, 0.0, 0.0, 0.75, 0.0, 0.0, 0.1]), True),
        (changed(expression=[0.25, 0.0, 0.0, 0.65, 0.0, 0.0, 0.1]), False),
        (changed(expression=[]), False),
        (changed(box=[600, 600, 10, 10]), False),
        ([FACES[0][:1], []], False),
        ([FACES[0], FACES[0][:1]], False),
        ([[], []], False),
    ],
)
def test_the_tolerance_of_parity(found: list[list[dict[str, Any]]], agrees: bool) -> None:
    assert measure_parity(FACES, found).holds is agrees


def test_without_a_face_there_is_no_parity() -> None:
    assert not measure_parity([[]], [[]]).holds
