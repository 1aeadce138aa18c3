"""What the law of a region says about a purpose: whether analysis may run, and what people must be told.

Plain rules from published texts, not legal advice; docs/privacy.md has the sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Region = Literal["EU", "US", "other"]
Purpose = Literal["practice", "coaching", "research", "hiring"]

REGIONS: dict[Region, str] = {"EU": "the European Union", "US": "the United States", "other": "elsewhere"}
"""Where the device stands, in words."""

PURPOSES: dict[Purpose, str] = {
    "practice": "practice: the results belong to the person who practises",
    "coaching": "coaching: a coach sees them together with the person",
    "research": "research with people who volunteer",
    "hiring": "hiring",
}
"""What it is used for, in words."""

DELETE_DAYS = 30
"""Within so many days after a request everything must be deleted (820 ILCS 42/15)."""

_NOT_SET = (
    "nobody has said yet in which region this device stands and what it is used for; the operator says it on "
    "the page, or in the configuration: lawful.region and lawful.purpose"
)

_BANNED = (
    "Article 5(1)(f) of the AI Act of the European Union (Regulation 2024/1689) forbids reading emotions of "
    "people at work; the Commission counts recruitment as work. Analysis stays off"
)


@dataclass(frozen=True)
class Paragraph:
    """A part of a notice: a heading and plain text."""

    heading: str
    text: str


@dataclass(frozen=True)
class Ruling:
    """What follows from a region and a purpose.

    `refusal` says why nothing may be analysed, empty when it may.
    """

    refusal: str = ""
    paragraphs: tuple[Paragraph, ...] = ()


_EU = {
    "practice": "The results belong to you. An employer or a school must not use them to decide about you.",
    "coaching": "The results are for you and your coach. An employer or a school must not get them, nor use "
    "them to decide about you.",
    "research": "You are told here, as Article 50(3) of the AI Act asks, that this device reads expressions. "
    "Whoever does the research tells you who is responsible and what happens with the results.",
}

_HIRING = (
    Paragraph(
        "Before an interview",
        "An artificial intelligence may look at your expressions in this interview. You are told so before "
        "it begins, and nothing is analysed unless you agree (Illinois: 820 ILCS 42/5).",
    ),
    Paragraph(
        "How it works",
        "The device finds your face, turns it upright, and a small model names the expression that it looks "
        "like. It uses general characteristics only: the shape of eyes, brows and mouth, where the head is "
        "turned, and movement. It does not decide, and no decision may rest on it.",
    ),
    Paragraph(
        "Sharing and deletion",
        "Nothing of it may be shared but with people whose expertise is needed to look at it "
        f"(820 ILCS 42/10). If you ask, everything is deleted within {DELETE_DAYS} days, copies with others "
        "included (820 ILCS 42/15).",
    ),
)


def ruling(region: str, purpose: str) -> Ruling:
    """What follows for a region of `REGIONS` and a purpose of `PURPOSES`; either may be unset, ""."""
    if region not in REGIONS or purpose not in PURPOSES:
        return Ruling(_NOT_SET)
    if purpose == "hiring":
        return Ruling(_BANNED) if region == "EU" else Ruling("", _HIRING)
    if region == "EU":
        return Ruling("", (Paragraph("What it may be used for", _EU[purpose]),))
    return Ruling()
