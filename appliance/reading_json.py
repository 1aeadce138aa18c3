"""A reading as JSON, the same for `analyze`, `/ws/live` and `/api/state`.

Uses plain dictionaries, because it runs for every frame and every viewer: with three faces, models took 40
to 80 % longer. A test checks the result against `web.api.models.Reading`.
"""

from __future__ import annotations

from typing import Any

from appliance.values import NOT_ANALYSED, Box, Movement, Person, Pose, Reading, Scores

SCHEMA = 1


def reading_json(reading: Reading, source: str) -> dict[str, Any]:
    """The reading as a JSON object; `source` is the file or the camera backend."""
    frame = reading.frame
    return {
        "schema": SCHEMA,
        "source": source,
        "frame": frame.number,
        "time_s": round(frame.time_s, 3),
        "width": frame.width,
        "height": frame.height,
        "beyond_limit": reading.beyond_limit,
        "faces": [_face(person) for person in reading.people],
    }


def _face(person: Person) -> dict[str, Any]:
    expression, smoothed = person.expression, person.smoothed
    return {
        "id": person.id,
        "box": _box(person.face.box),
        "score": round(person.face.score, 4),
        "analysed": person.label != NOT_ANALYSED,
        "readable": smoothed is not None,
        "reason": expression.reason,
        "emotions": _scores(smoothed),
        "emotions_raw": _scores(expression.scores),
        "dominant": smoothed.dominant if smoothed else None,
        "label": person.label,
        "pose": _pose(expression.pose),
        "movement": _movement(person.movement),
        "strength": None if expression.strength is None else round(expression.strength, 3),
        "baseline": expression.baseline,
    }


def _pose(pose: Pose | None) -> dict[str, float] | None:
    if pose is None:
        return None
    return {"yaw": round(pose.yaw, 1), "pitch": round(pose.pitch, 1), "roll": round(pose.roll, 1)}


def _movement(movement: Movement | None) -> dict[str, float | None] | None:
    if movement is None:
        return None
    return {
        "head": round(movement.head, 3),
        "body": None if movement.body is None else round(movement.body, 3),
        "nods": movement.nods,
        "shakes": movement.shakes,
    }


def _box(box: Box) -> list[float]:
    return [round(side, 1) for side in (box.x, box.y, box.width, box.height)]


def _scores(scores: Scores | None) -> dict[str, float] | None:
    if scores is None:
        return None
    return {name: round(value, 4) for name, value in scores.named().items()}
