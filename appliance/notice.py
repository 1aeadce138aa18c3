"""The notice that people are shown before they agree. A changed text gets a new version."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """What is shown before Start: a version, a title and paragraphs of plain text."""

    version: str
    title: str
    paragraphs: tuple[str, ...]


NOTICE = Notice(
    version="1",
    title="Before the camera starts",
    paragraphs=(
        "This device looks at faces through its camera and reads facial expressions: angry, disgusted, fear, "
        "happy, sad, surprised and neutral. It does so on the device itself.",
        "An expression is not a feeling. A smile or a frown can mean many things, and the reading is often "
        "wrong. Nobody is graded, ranked or identified.",
        "Nothing is stored: pictures stay in memory for a moment and are gone. The picture and the readings "
        "are shown on this page to those who have it open.",
        "Anyone may ask to stop at any time: Stop closes the camera at once.",
    ),
)
