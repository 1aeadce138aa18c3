"""A reading as JSON: exactly the keys of the contract."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.reading_json import reading_json
from appliance.values import EMOTIONS, Box, ExpressionResult, Face, Movement, Person, Pose, Scores
from tests.fakes.parts import face, frame, person, picture, reading, scores

RAW, SMOOTHED = scores(happy=3, neutral=1), scores(happy=1, neutral=2)


def test_a_reading_has_exactly_the_keys_of_the_contract() -> None:
    box = Face(Box(412.04, 88.46, 140.25, 141.0), 0.973219)
    taken = frame(12, 0.4, picture(1280, 720))
    found = json.loads(
        json.dumps(
            reading_json(
                reading(taken, Person(1, box, ExpressionResult(RAW), SMOOTHED, "neutral")), "a/b.mp4"
            )
        )
    )
    zero = dict.fromkeys(EMOTIONS, 0.0)
    assert found == {
        "schema": 1,
        "source": "a/b.mp4",
        "frame": 12,
        "time_s": 0.4,
        "width": 1280,
        "height": 720,
        "beyond_limit": 0,
        "faces": [
            {
                "id": 1,
                "box": [412.0, 88.5, 140.2, 141.0],
                "score": 0.9732,
                "analysed": True,
                "readable": True,
                "reason": None,
                "emotions": zero | {"happy": 0.3333, "neutral": 0.6667},
                "emotions_raw": zero | {"happy": 0.75, "neutral": 0.25},
                "dominant": "neutral",
                "label": "neutral",
                "pose": None,
                "movement": None,
                "strength": None,
                "baseline": None,
            }
        ],
    }


def test_emotions_are_in_the_order_of_the_contract_after_a_round_trip() -> None:
    sent = json.dumps(reading_json(reading(frame(), person(1, face(9, 9, 9), RAW)), ""))
    (shown,) = json.loads(sent)["faces"]
    assert tuple(shown["emotions"]) == tuple(shown["emotions_raw"]) == EMOTIONS


def test_no_one_in_view_is_an_empty_list() -> None:
    assert reading_json(reading(frame()), "")["faces"] == []


@settings(deadline=None)
@given(st.lists(st.floats(0.001, 1), min_size=7, max_size=7), st.floats(-1e5, 1e5), st.floats(0, 1))
def test_rounding_keeps_the_sum_within_a_thousandth(weights: list[float], x: float, score: float) -> None:
    found = person(3, Face(Box(x, x, 10, 10), score), Scores.of(np.array(weights)))
    (shown,) = reading_json(reading(frame(), found), "")["faces"]
    assert sum(shown["emotions"].values()) == pytest.approx(1.0, abs=0.001)
    assert shown["emotions"][shown["dominant"]] == max(shown["emotions"].values())
    assert shown["box"][0] == pytest.approx(x, abs=0.051)
    assert 0 <= shown["score"] <= 1


def test_a_face_with_a_baseline_shows_both_scores_and_its_strength() -> None:
    adjusted = scores(happy=1, neutral=3)
    look = ExpressionResult(RAW, adjusted=adjusted, strength=0.12345, baseline="running")
    (shown,) = reading_json(reading(frame(), Person(1, face(9, 9, 9), look, adjusted, "neutral")), "")[
        "faces"
    ]
    assert (shown["strength"], shown["baseline"]) == (0.123, "running")
    assert shown["emotions_raw"]["happy"] == 0.75 and shown["emotions"]["happy"] == 0.25


def test_an_unreadable_face_has_no_result() -> None:
    look = ExpressionResult(None, "turned", Pose(51.26, -3.0, 0.0))
    found = Person(2, face(9, 9, 9), look, None, "not_readable", Movement(0.1234, 0.5, 1, 0))
    (shown,) = reading_json(reading(frame(), found), "")["faces"]
    assert shown["analysed"] and not shown["readable"] and shown["reason"] == "turned"
    assert shown["emotions"] is shown["emotions_raw"] is shown["dominant"] is None
    assert shown["label"] == "not_readable"
    assert shown["pose"] == {"yaw": 51.3, "pitch": -3.0, "roll": 0.0}
    assert shown["movement"] == {"head": 0.123, "body": 0.5, "nods": 1, "shakes": 0}
