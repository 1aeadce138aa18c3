"""A person's baseline: what counts as rest, what is subtracted, how far a face is from its rest."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.inference.manifest import Manifest, RestModel
from appliance.system.resources import models_dir
from appliance.values import EMOTIONS, Floats, Pose, Scores
from appliance.vision.expression.baseline import (
    RUNNING,
    TAKE_S,
    TAKEN,
    TAKING,
    Baseline,
    adjust_pictures,
    common_logits,
    logits_of,
)
from appliance.vision.expression.classifier import softmax

FRONTAL, TURNED = Pose(4.0, -6.0, 1.0), Pose(24.0, 0.0, 0.0)
FPS = 15


def logits(**named: float) -> Floats:
    values = np.array([named.get(name, 0.0) for name in EMOTIONS], np.float32)
    return np.asarray(values - values.mean(), np.float32)


def scores(**named: float) -> Scores:
    return Scores.of(softmax(logits(**named)))


TYPICAL = logits(neutral=4.0)
MODEL = RestModel(typical=tuple(TYPICAL.tolist()), radius=4.0, strong=8.0, share=0.5, pictures_share=0.5)
STERN = {"neutral": 3.0, "angry": 3.2}
"""The rest of a person who looks a little angry at rest."""
SMILE = {"happy": 8.0}


def watch(
    baseline: Baseline,
    begin: float,
    seconds: float,
    pose: Pose | None = FRONTAL,
    calm: bool = True,
    **face: float,
) -> float:
    """Show one face for some seconds; returns the time afterwards."""
    for index in range(round(seconds * FPS)):
        baseline.add(scores(**face), pose, begin + index / FPS, calm=calm)
    return begin + seconds


def test_logits_are_the_scores_and_back() -> None:
    expected = logits(happy=3.0, sad=-2.0)
    assert logits_of(Scores.of(softmax(expected))) == pytest.approx(expected, abs=1e-5)


def test_a_person_begins_without_a_baseline() -> None:
    baseline = Baseline(MODEL)
    watch(baseline, 0.0, 4.0, **STERN)
    assert baseline.kind is None and baseline.strength is None
    assert baseline.adjust(scores(**STERN)) is None


def test_a_face_that_looks_angry_at_rest_is_neutral_at_rest() -> None:
    baseline = Baseline(MODEL)
    watch(baseline, 0.0, 20.0, **STERN)
    assert scores(**STERN).dominant == "angry"
    adjusted = baseline.adjust(scores(**STERN))
    assert baseline.kind == RUNNING and adjusted is not None and adjusted.dominant == "neutral"
    half_way = (logits(**STERN) + TYPICAL) / 2
    assert logits_of(adjusted) == pytest.approx(half_way, abs=0.05)


def test_a_typical_rest_changes_nothing() -> None:
    baseline = Baseline(MODEL)
    watch(baseline, 0.0, 20.0, neutral=4.0)
    smile = baseline.adjust(scores(**SMILE))
    assert smile is not None and smile.values == pytest.approx(scores(**SMILE).values, abs=1e-5)


@pytest.mark.parametrize(
    ("pose", "calm", "face"),
    [
        (TURNED, True, STERN),
        (None, True, STERN),
        (FRONTAL, False, STERN),
        (FRONTAL, True, SMILE),
    ],
    ids=["turned", "no pose", "moving", "a long smile"],
)
def test_what_is_no_rest_does_not_count(pose: Pose | None, calm: bool, face: dict[str, float]) -> None:
    baseline = Baseline(MODEL)
    watch(baseline, 0.0, 60.0, pose, calm, **face)
    assert baseline.kind is None


def test_a_minute_of_smiling_moves_no_baseline() -> None:
    baseline = Baseline(MODEL)
    after = watch(baseline, 0.0, 20.0, **STERN)
    before = baseline.adjust(scores(**STERN))
    watch(baseline, after, 60.0, **SMILE)
    assert baseline.adjust(scores(**STERN)) == before


def test_the_frame_rate_does_not_matter() -> None:
    slow, fast = Baseline(MODEL), Baseline(MODEL)
    for baseline, fps in ((slow, 6), (fast, 30)):
        for index in range(20 * fps):
            now = index / fps
            baseline.add(scores(neutral=4.0, sad=4.0 * (now >= 10)), FRONTAL, now, calm=True)
    found = [logits_of(each) for each in (slow.adjust(scores()), fast.adjust(scores())) if each]
    assert len(found) == 2 and found[0] == pytest.approx(found[1], abs=0.05)


def test_a_long_gap_is_no_rest() -> None:
    baseline = Baseline(MODEL)
    baseline.add(scores(**STERN), FRONTAL, 0.0, calm=True)
    baseline.add(scores(**STERN), FRONTAL, 3600.0, calm=True)
    assert baseline.kind is None


def test_strength_is_0_at_rest_and_grows_with_the_expression() -> None:
    baseline = Baseline(MODEL)
    after = watch(baseline, 0.0, 20.0, **STERN)
    assert baseline.strength == pytest.approx(0.0, abs=0.01)
    after = watch(baseline, after, 3.0, happy=3.0, neutral=3.0, calm=False)
    slight = baseline.strength
    watch(baseline, after, 3.0, calm=False, happy=12.0)
    assert slight is not None and 0.2 < slight < 0.9
    assert baseline.strength == 1.0


def test_a_baseline_is_taken_on_purpose_from_any_resting_face() -> None:
    baseline = Baseline(MODEL)
    after = watch(baseline, 0.0, 20.0, neutral=4.0)
    baseline.take(after)
    far = {"angry": 9.0, "neutral": 2.0}  # further from a typical rest than a running baseline accepts
    after = watch(baseline, after, TAKE_S - 1, calm=False, **far)
    assert baseline.kind == TAKING
    after = watch(baseline, after, 2.0, calm=False, **far)
    assert baseline.kind == TAKEN
    assert baseline.strength == pytest.approx(0.0, abs=0.01)
    watch(baseline, after, 60.0, neutral=4.0)
    adjusted = baseline.adjust(scores(**far))
    assert adjusted and logits_of(adjusted) == pytest.approx((logits(**far) + TYPICAL) / 2, abs=0.01), (
        "what follows does not change it"
    )


def test_a_blink_does_not_change_what_is_taken() -> None:
    baseline = Baseline(MODEL)
    baseline.take(0.0)
    after = watch(baseline, 0.0, 4.0, **STERN)
    after = watch(baseline, after, 1.0, surprised=9.0)
    watch(baseline, after, 6.0, **STERN)
    adjusted = baseline.adjust(scores(**STERN))
    assert adjusted and logits_of(adjusted) == pytest.approx((logits(**STERN) + TYPICAL) / 2, abs=0.01)


def test_nothing_is_taken_from_someone_who_looks_away() -> None:
    baseline = Baseline(MODEL)
    baseline.take(0.0)
    after = watch(baseline, 0.0, 2.0, **STERN)
    watch(baseline, after, 9.0, TURNED, **STERN)
    assert baseline.kind is None


def test_pictures_lose_what_they_have_in_common() -> None:
    stern = [scores(angry=4.0, **SMILE), scores(angry=4.0, sad=5.0), scores(angry=4.0, surprised=5.0)]
    assert [each.dominant for each in stern] == ["happy", "sad", "surprised"]
    adjusted = adjust_pictures(stern, MODEL)
    assert [each.dominant for each in adjusted] == ["happy", "sad", "surprised"]
    angry = EMOTIONS.index("angry")
    assert all(new.values[angry] < old.values[angry] for new, old in zip(adjusted, stern, strict=True))


@pytest.mark.parametrize("count", [1, 2, 40])
def test_pictures_of_one_expression_stay_as_they_are(count: int) -> None:
    alike = [scores(sad=3.0, neutral=1.0)] * count
    assert all(each.values == pytest.approx(alike[0].values) for each in adjust_pictures(alike, MODEL))


def test_many_similar_pictures_count_once() -> None:
    smile, frown = logits(**SMILE), logits(angry=6.0)
    assert common_logits(np.stack([smile, frown])) == pytest.approx(
        common_logits(np.stack([smile] * 30 + [frown])), abs=1e-5
    )


def test_no_pictures() -> None:
    assert adjust_pictures([], MODEL) == []


def test_the_shipped_rest_is_neutral_and_reachable() -> None:
    rest = Manifest.load(models_dir()).classifier("").baseline
    assert rest is not None
    assert EMOTIONS[int(np.argmax(rest.typical))] == "neutral"
    assert sum(rest.typical) == pytest.approx(0.0, abs=0.01)
    assert 0 < rest.share < 1 and rest.radius < rest.strong
