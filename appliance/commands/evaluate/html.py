"""The report as one self-contained HTML page: no scripts, no other files, no other hosts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import jinja2
import numpy as np

from appliance.commands.evaluate.report import (
    MODES,
    SAME_PEOPLE,
    ExpressionReport,
    FaceReport,
    Mistake,
    Report,
    coverage_words,
    number,
    spread,
    width_name,
)
from appliance.commands.evaluate.run import Prediction
from appliance.errors import PictureError
from appliance.media.inputs import read_still_of
from appliance.system.native import quiet_native_output
from appliance.values import EMOTIONS, Box, Image, shown_name

_MOST_MISSES = 200


@dataclass(frozen=True)
class Shown:
    """A mistake with its thumbnail, a `data:` URL, or None."""

    mistake: Mistake
    picture: str | None = None


def as_page(report: Report, shown: Sequence[Shown] = ()) -> str:
    """The report as a page; `shown`: the mistakes of a report on expressions."""
    loader = jinja2.PackageLoader("appliance.commands.evaluate", "templates")
    # File and class names are untrusted: everything is escaped, and an undefined name is an error.
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "spread": spread,
        "number": number,
        "width_name": width_name,
        "shown_name": shown_name,
    }
    name = "faces.html" if isinstance(report, FaceReport) else "expressions.html"
    return environment.get_template(name).render(
        report=report,
        figures=report.figures,
        names=[shown_name(name) for name in EMOTIONS],
        coverage=coverage_words(report.pictures),
        same_people=SAME_PEOPLE,
        title=MODES[report.mode] if isinstance(report, ExpressionReport) else "faces in annotated pictures",
        shown=shown,
        has_pictures=any(each.picture for each in shown),
        most_misses=_MOST_MISSES,
    )


# --- thumbnails ---

SIDE = 96
"""Longer side of a thumbnail in pixels."""

_QUALITY = 80
_ROOM = 0.25
"""Margin around a detected face, as a share of its side."""


def face_thumbnail(prediction: Prediction) -> str | None:
    """The face of a prediction as a `data:` URL; None if its picture can no longer be read.

    Thumbnails show people: they appear only in pages for which the owner requested them.
    """
    try:
        with quiet_native_output():
            image = read_still_of(prediction.sample.path).image
    except PictureError:
        return None
    face = image if prediction.box is None else _cut(image, prediction.box)
    scale = SIDE / max(face.shape[:2])
    size = [max(1, round(side * scale)) for side in (face.shape[1], face.shape[0])]
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii") if done else None


def _cut(image: Image, box: Box) -> Image:
    room = _ROOM * box.width
    left, top = max(0, int(box.x - room)), max(0, int(box.y - room))
    cut = image[top : int(box.bottom + room), left : int(box.right + room)]
    return np.asarray(cut if cut.size else image, np.uint8)
