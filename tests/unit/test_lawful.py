"""Region and purpose: what is allowed, what is told, what is deleted when."""

from __future__ import annotations

import itertools

import pytest

from appliance.lawful import PURPOSES, REGIONS, ruling


@pytest.mark.parametrize(
    ("region", "purpose"), list(itertools.product(["", *REGIONS, "Mars"], ["", *PURPOSES, "fun"]))
)
def test_every_pair(region: str, purpose: str) -> None:
    follows = ruling(region, purpose)
    text = " ".join(f"{each.heading} {each.text}" for each in follows.paragraphs)
    if region not in REGIONS or purpose not in PURPOSES:
        assert "lawful.region" in follows.refusal and not text
    elif (region, purpose) == ("EU", "hiring"):
        assert "Article 5(1)(f) of the AI Act" in follows.refusal and not text
    else:
        assert follows.refusal == ""
        assert ("820 ILCS 42" in text) is (purpose == "hiring")
        assert bool(text) is (purpose == "hiring" or region == "EU")


def test_hiring_tells_the_points_of_the_illinois_act() -> None:
    text = " ".join(each.text for each in ruling("US", "hiring").paragraphs)
    for point in ("before it begins", "general characteristics", "unless you agree", "shared", "30 days"):
        assert point in text


def test_practice_in_the_eu_belongs_to_the_person() -> None:
    (paragraph,) = ruling("EU", "practice").paragraphs
    assert "belong to you" in paragraph.text and "employer" in paragraph.text
