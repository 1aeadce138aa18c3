"""Checks a reading and the state against the contract, key by key."""

from __future__ import annotations

from typing import Any

NAMES = ["angry", "disgusted", "fear", "happy", "sad", "surprised", "neutral"]
LABELS = [*NAMES, "unsure", "not_readable", "not_analysed"]
REASONS = ["small", "turned", "blurred", "dark", "bright", "covered", "not_agreed"]
READING = ["schema", "source", "frame", "time_s", "width", "height", "beyond_limit", "faces"]
FACE = [
    *("id", "box", "score", "analysed", "readable", "reason"),
    *("emotions", "emotions_raw", "dominant", "label", "pose", "movement", "strength", "baseline"),
]
STATE = ["schema", "state", "notice", "camera", "engine", "storage", "board", "viewers", "session", "reading"]
SESSION = ["people", "seat", "aiming_s", "elapsed_s", "pause_s", "recording"]
CAMERA = ["backend", "state", "reason", "since", "frame", "age_s", "fps", "width", "height"]


def check_reading(found: Any, *, source: str, size: tuple[int, int] | None = None) -> None:
    """Fails unless this is exactly a reading as in the contract."""
    assert list(found) == READING, found
    assert found["schema"] == 1
    assert found["source"] == source
    assert _is_count(found["frame"]), found["frame"]
    assert _is_number(found["time_s"]) and found["time_s"] >= 0
    assert _is_count(found["width"]) and _is_count(found["height"])
    if size is not None:
        assert (found["width"], found["height"]) == size
    assert isinstance(found["faces"], list)
    numbers = [face["id"] for face in found["faces"]]
    assert len(set(numbers)) == len(numbers), numbers
    for face in found["faces"]:
        _check_face(face)


def _check_face(face: Any) -> None:
    assert list(face) == FACE, face
    assert _is_count(face["id"]) and face["id"] >= 1
    assert len(face["box"]) == 4 and all(_is_number(side) for side in face["box"])
    assert face["box"][2] > 0 and face["box"][3] > 0
    assert _is_number(face["score"]) and 0 < face["score"] <= 1
    assert face["analysed"] is (face["reason"] != "not_agreed") is (face["label"] != "not_analysed")
    assert face["label"] in LABELS
    assert face["readable"] is (face["reason"] is None)
    if face["readable"]:
        _check_scores(face)
    else:
        assert face["reason"] in REASONS and face["label"] in ("not_readable", "not_analysed")
        assert face["emotions"] is face["emotions_raw"] is face["dominant"] is None
    if face["pose"] is not None:
        assert list(face["pose"]) == ["yaw", "pitch", "roll"]
        assert all(_is_number(value) and -180 <= value <= 180 for value in face["pose"].values())
    if face["movement"] is not None:
        _check_movement(face["movement"])
    assert face["baseline"] in (None, "running", "taking", "taken", "pictures")
    assert face["strength"] is None or 0 <= face["strength"] <= 1


def _check_scores(face: Any) -> None:
    for scores in (face["emotions"], face["emotions_raw"]):
        assert list(scores) == NAMES
        assert all(_is_number(value) and 0 <= value <= 1 for value in scores.values())
        assert abs(sum(scores.values()) - 1) <= 0.001, scores
    assert face["dominant"] in NAMES
    assert face["emotions"][face["dominant"]] == max(face["emotions"].values())
    assert face["label"] in (*NAMES, "unsure")


def _check_movement(movement: Any) -> None:
    assert list(movement) == ["head", "body", "nods", "shakes"]
    assert _is_number(movement["head"]) and movement["head"] >= 0
    assert movement["body"] is None or 0 <= movement["body"] <= 1
    assert _is_count(movement["nods"]) and _is_count(movement["shakes"])


def check_state(found: Any, *, backend: str) -> None:
    """Fails unless this is exactly the body of `/api/state`."""
    assert list(found) == STATE, found
    assert found["schema"] == 1
    assert found["state"] in ("idle", "aiming", "live", "recording", "paused")
    assert list(found["notice"]) == ["version"] and isinstance(found["notice"]["version"], str)
    camera = found["camera"]
    assert list(camera) == CAMERA, camera
    assert camera["backend"] == backend
    assert camera["state"] in ("open", "closed", "lost")
    assert camera["reason"] is None or isinstance(camera["reason"], str)
    assert _is_number(camera["since"]) and _is_number(camera["fps"])
    shown = (camera["frame"], camera["age_s"], camera["width"], camera["height"])
    assert all(_is_number(value) for value in shown) or shown == (None,) * 4, camera
    assert [role for role in found["engine"] if role != "choice"] == ["detector", "verifier", "classifier"]
    assert all(isinstance(value, str) and value for value in found["engine"].values())
    assert _is_count(found["viewers"])
    if found["session"] is not None:
        assert list(found["session"]) == SESSION
    assert (found["session"] is None) is (found["state"] == "idle")
    if found["reading"] is not None:
        check_reading(found["reading"], source=backend)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
