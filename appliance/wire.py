"""A reading as JSON, the same for `analyze`, `/ws/live` and `/api/state`."""

from __future__ import annotations

from typing import Any

from appliance.values import Box, Person, Reading, Scores

SCHEMA = 1


def reading_json(reading: Reading, source: str) -> dict[str, Any]:
    """The object of the contract; `source` is the file or the camera backend it came from."""
    frame = reading.frame
    return {
        "schema": SCHEMA,
        "source": source,
        "frame": frame.number,
        "time_s": round(frame.time_s, 3),
        "width": frame.width,
        "height": frame.height,
        "faces": [_face(person) for person in reading.people],
    }


def _face(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "box": _box(person.face.box),
        "score": round(person.face.score, 4),
        "analysed": True,
        "readable": True,
        "reason": None,
        "emotions": _scores(person.smoothed),
        "emotions_raw": _scores(person.raw),
        "dominant": person.smoothed.dominant,
        "label": person.label,
        "pose": None,
        "movement": None,
    }


def _box(box: Box) -> list[float]:
    return [round(side, 1) for side in (box.x, box.y, box.width, box.height)]


def _scores(scores: Scores) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.named().items()}
