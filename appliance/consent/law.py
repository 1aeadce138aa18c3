"""Rules by jurisdiction: whether analysis may run, and what the notice must say.

Plain rules from published texts, not legal advice; docs/privacy.md has the sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Region = Literal["EU", "US", "other"]
Purpose = Literal["practice", "coaching", "research", "hiring"]
Institution = Literal["employer", "school", "none"]

REGIONS: dict[Region, str] = {"EU": "the European Union", "US": "the United States", "other": "elsewhere"}
"""Where the device is, in words."""

PURPOSES: dict[Purpose, str] = {
    "practice": "practice: the results belong to the person who practises",
    "coaching": "coaching: a coach sees them together with the person",
    "research": "research with people who volunteer",
    "hiring": "hiring",
}
"""What it is used for, in words."""

INSTITUTIONS: dict[Institution, str] = {
    "employer": "an employer, with people who work there or apply",
    "school": "a school, a university or its career centre, with people who learn there or apply",
    "none": "neither",
}
"""Who uses it and with whom, in words. Only EU law depends on it."""

DELETE_DAYS = 30
"""Everything must be deleted within this many days after a request (820 ILCS 42/15)."""

_NOT_SET = (
    "nobody has said yet in which region this device stands and what it is used for; the operator says it on "
    "the page, or in the configuration: lawful.region and lawful.purpose"
)

_NOT_SAID = (
    "the operator has not said yet whether an employer or a school uses this device, which decides in the "
    "European Union; the operator says it on the page, or in the configuration: lawful.institution"
)

_BAN = (
    "Article 5(1)(f) of the AI Act of the European Union (Regulation 2024/1689) forbids inferring emotions "
    "of people"
)

_BANNED = {
    "employer": f"{_BAN} at work, and the Commission's guidelines of 29 July 2025 count recruitment and "
    "probation as work. Analysis stays off. People may practise for themselves, where no employer gets the "
    "results",
    "school": f"{_BAN} in education: in schools and universities, their career centres included. Analysis "
    "stays off. Students may practise for themselves, outside of the school, where it does not get the "
    "results",
}


@dataclass(frozen=True)
class Paragraph:
    """A part of a notice: a heading and plain text."""

    heading: str
    text: str


@dataclass(frozen=True)
class Ruling:
    """The consequences of a region, a purpose and an institution.

    `refusal`: why no analysis may run, empty when it may; `is_incomplete`: because an answer is missing.
    `mark` names the paragraphs in the version of a notice, empty without any; another text has another mark.
    """

    refusal: str = ""
    paragraphs: tuple[Paragraph, ...] = ()
    mark: str = ""
    is_incomplete: bool = False


_EU = {
    "practice": "The results belong to you. An employer or a school must not get them, nor use them to "
    "decide about you.",
    "coaching": "The results are for you and your coach. An employer or a school must not get them, nor use "
    "them to decide about you.",
    "research": "You volunteer. The person who does the research tells you who is responsible and what "
    "happens with the results. An employer or a school must not use them to decide about you.",
}

_EU_TOLD = Paragraph(
    "Why you are told",
    "This device infers from your face which expression it shows. Article 50(3) of the AI Act of the "
    "European Union asks since 2 August 2026 that you are told.",
)

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


def ruling_for(region: str, purpose: str, institution: str = "") -> Ruling:
    """The ruling for keys of `REGIONS`, `PURPOSES` and `INSTITUTIONS`; each may be unset, ""."""
    if region not in REGIONS or purpose not in PURPOSES:
        return Ruling(_NOT_SET, is_incomplete=True)
    if region == "EU":
        return _eu_ruling(purpose, institution)
    if purpose == "hiring":
        return Ruling("", _HIRING, f"{region.lower()}-hiring")
    return Ruling()


def _eu_ruling(purpose: str, institution: str) -> Ruling:
    if banned := _BANNED.get("employer" if purpose == "hiring" else institution):
        return Ruling(banned)
    if institution not in INSTITUTIONS:
        return Ruling(_NOT_SAID, is_incomplete=True)
    return Ruling("", (Paragraph("What it may be used for", _EU[purpose]), _EU_TOLD), f"eu2-{purpose}")
