"""Rules by jurisdiction: whether analysis may run, and what the notice must say.

The rules come from published texts and are not legal advice; docs/privacy.md has the sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Region = Literal["EU", "US", "other"]
Purpose = Literal["practice", "coaching", "research", "hiring"]
Institution = Literal["employer", "school", "none"]

REGIONS: dict[Region, str] = {"EU": "the European Union", "US": "the United States", "other": "elsewhere"}
"""Where the device is, as the page shows it."""

PURPOSES: dict[Purpose, str] = {
    "practice": "practice: the results belong to the person who practises",
    "coaching": "coaching: the coach and the person look at the results together",
    "research": "research with people who volunteer",
    "hiring": "hiring",
}
"""What the device is used for, as the page shows it."""

INSTITUTIONS: dict[Institution, str] = {
    "employer": "an employer, with people who work there or apply",
    "school": "a school, a university or its career centre, with people who learn there or apply",
    "none": "neither",
}
"""Users of the device and the people it is used with, as the page shows them. Only EU law depends on it."""

DELETE_DAYS = 30
"""Everything must be deleted within this many days after a request (820 ILCS 42/15)."""

_NO_PURPOSE = (
    "region and purpose of this device are not set; the operator sets them on the page, or in the "
    "configuration: lawful.region and lawful.purpose"
)

_NO_INSTITUTION = (
    "whether an employer or a school uses this device is not set, and European Union law depends on it; the "
    "operator sets it on the page, or in the configuration: lawful.institution"
)

_BAN = (
    "Article 5(1)(f) of the AI Act of the European Union (Regulation 2024/1689) forbids inferring emotions "
    "of people"
)

_BANNED = {
    "employer": f"{_BAN} at work, and the Commission's guidelines of 29 July 2025 count recruitment and "
    "probation as work. Analysis stays off. People may practise for themselves if no employer gets the "
    "results",
    "school": f"{_BAN} in education: in schools and universities, including their career centres. Analysis "
    "stays off. Students may practise for themselves, outside the school, if it does not get the results",
}


@dataclass(frozen=True)
class Paragraph:
    """A part of a notice: a heading and plain text."""

    heading: str
    text: str


@dataclass(frozen=True)
class Ruling:
    """The consequences of a region, a purpose and an institution.

    `refusal`: why analysis may not run, empty if it may; `is_incomplete`: because an answer is missing.
    `paragraphs` and `summary`: what the notice must say, in full and in short. `mark` names them in the
    version of the notice; a changed text gets a new mark.
    """

    refusal: str = ""
    paragraphs: tuple[Paragraph, ...] = ()
    summary: str = ""
    mark: str = ""
    is_incomplete: bool = False


_EU = {
    "practice": "The results belong to you. An employer or a school must not get them or use them to "
    "decide about you.",
    "coaching": "The results are for you and your coach. An employer or a school must not get them or use "
    "them to decide about you.",
    "research": "You volunteer. The person who does the research tells you who is responsible and what "
    "happens with the results. An employer or a school must not use them to decide about you.",
}

_EU_SUMMARY = {
    "practice": "The results belong to you; no employer or school may get them.",
    "coaching": "The results are for you and your coach; no employer or school may get them.",
    "research": "You volunteer; no employer or school may use the results to decide about you.",
}

_EU_REASON = Paragraph(
    "Why you see this notice",
    "This device infers from your face which expression it shows. Since 2 August 2026, Article 50(3) of the "
    "AI Act of the European Union requires that you are informed.",
)

_HIRING = (
    Paragraph(
        "Before an interview",
        "Artificial intelligence may analyse your expressions in this interview. This notice informs you "
        "before it begins, and nothing is analysed unless you agree (Illinois: 820 ILCS 42/5).",
    ),
    Paragraph(
        "How it works",
        "The device finds your face and turns it upright, and a small model names the expression it looks "
        "like. It uses general characteristics only: the shape of eyes, brows and mouth, where the head is "
        "turned, and movement. It does not decide, and no decision may be based on it.",
    ),
    Paragraph(
        "Sharing and deletion",
        "All of this may be shared only with people whose expertise is needed to evaluate it "
        f"(820 ILCS 42/10). If you ask, everything is deleted within {DELETE_DAYS} days, including copies "
        "that others have (820 ILCS 42/15).",
    ),
)

_HIRING_SUMMARY = (
    "Artificial intelligence may analyse your expressions in this interview; no decision may be based on it."
)


def ruling_for(region: str, purpose: str, institution: str = "") -> Ruling:
    """The ruling for keys of `REGIONS`, `PURPOSES` and `INSTITUTIONS`; each may be unset, ""."""
    if region not in REGIONS or purpose not in PURPOSES:
        return Ruling(_NO_PURPOSE, is_incomplete=True)
    if region == "EU":
        return _eu_ruling(purpose, institution)
    if purpose == "hiring":
        return Ruling("", _HIRING, _HIRING_SUMMARY, f"{region.lower()}2-hiring")
    return Ruling()


def _eu_ruling(purpose: str, institution: str) -> Ruling:
    if banned := _BANNED.get("employer" if purpose == "hiring" else institution):
        return Ruling(banned)
    if institution not in INSTITUTIONS:
        return Ruling(_NO_INSTITUTION, is_incomplete=True)
    paragraphs = Paragraph("What it may be used for", _EU[purpose]), _EU_REASON
    return Ruling("", paragraphs, _EU_SUMMARY[purpose], f"eu3-{purpose}")
