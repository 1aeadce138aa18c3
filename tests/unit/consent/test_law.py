"""Region, purpose and institution: what is allowed, and what the notice must say."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from appliance.consent.law import INSTITUTIONS, PURPOSES, REGIONS, ruling_for

ANSWERS = list(itertools.product(["", *REGIONS, "Mars"], ["", *PURPOSES, "fun"], ["", *INSTITUTIONS, "club"]))

TEXTS = {
    "eu3-practice": "45c1c5adf1161b09",
    "eu3-coaching": "3ed6a7f83f9996af",
    "eu3-research": "4177fdfa4954c663",
    "us2-hiring": "3a6dc430bd06bd7d",
    "other2-hiring": "3a6dc430bd06bd7d",
}
"""The hash of the text with each mark of a notice: a changed text gets a new mark, and a new line here."""


@pytest.mark.parametrize(("region", "purpose", "institution"), ANSWERS)
def test_every_answer(region: str, purpose: str, institution: str) -> None:
    follows = ruling_for(region, purpose, institution)
    text = " ".join(f"{each.heading} {each.text}" for each in follows.paragraphs)
    assert not (follows.refusal and text) and bool(text) is bool(follows.mark) is bool(follows.summary)
    if region not in REGIONS or purpose not in PURPOSES:
        assert "lawful.region" in follows.refusal
    elif region != "EU":
        assert follows == ruling_for(region, purpose), "outside the EU it makes no difference who uses it"
        assert follows.refusal == "" and bool(text) is (purpose == "hiring")
    elif purpose == "hiring" or institution in ("employer", "school"):
        assert "Article 5(1)(f) of the AI Act" in follows.refusal
        assert ("recruitment" in follows.refusal) is (purpose == "hiring" or institution == "employer")
    elif institution == "none":
        assert follows.refusal == "" and "Article 50(3)" in text
    else:
        assert "lawful.institution" in follows.refusal and "Article" not in follows.refusal
    assert ("820 ILCS 42" in text) is (region in ("US", "other") and purpose == "hiring")


def test_the_refusal_of_a_school_names_what_students_may_do() -> None:
    refusal = ruling_for("EU", "practice", "school").refusal
    assert "career centre" in refusal and "practise for themselves" in refusal


def test_the_hiring_notice_has_the_points_of_the_illinois_act() -> None:
    text = " ".join(each.text for each in ruling_for("US", "hiring").paragraphs)
    for point in (
        "before it begins",
        "general characteristics",
        "unless you agree",
        "shared only with",
        "30 days",
    ):
        assert point in text


def test_practice_results_in_the_eu_belong_to_the_person() -> None:
    text = " ".join(each.text for each in ruling_for("EU", "practice", "none").paragraphs)
    assert "belong to you" in text and "employer" in text and "Since 2 August 2026" in text


def test_a_changed_text_gets_a_new_mark() -> None:
    """People agree to the version of a notice. It contains this mark, so it names exactly what they read."""
    found: dict[str, str] = {}
    for answers in ANSWERS:
        follows = ruling_for(*answers)
        if follows.mark:
            text = "\n".join(
                [follows.summary, *(f"{each.heading}\n{each.text}" for each in follows.paragraphs)]
            )
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            assert found.setdefault(follows.mark, digest) == digest, follows.mark
    assert found == TEXTS
