"""One colour per label, the same on the picture and on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import appliance
from appliance.colours import COLOURS, bgr_of, rgb_of
from appliance.values import EMOTIONS

CSS = Path(appliance.__file__).parent / "web" / "static" / "palette.css"


def test_the_page_has_the_colours_of_the_picture() -> None:
    written = dict(re.findall(r"--([a-z]+):\s*(#[0-9a-f]{6});", CSS.read_text(encoding="utf-8")))
    assert written == {label: colour.hex for label, colour in COLOURS.items()}


def test_every_expression_has_a_different_colour() -> None:
    assert set(EMOTIONS) < set(COLOURS)
    assert len({colour.hex for colour in COLOURS.values()}) == len(COLOURS)


@pytest.mark.parametrize("label", [*EMOTIONS, "unsure"])
def test_channels(label: str) -> None:
    assert "#{:02x}{:02x}{:02x}".format(*rgb_of(label)) == COLOURS[label].hex
    assert bgr_of(label) == rgb_of(label)[::-1]


@pytest.mark.parametrize("label", ["not_readable", "not_analysed", ""])
def test_other_labels_are_drawn_as_unsure(label: str) -> None:
    assert rgb_of(label) == rgb_of("unsure")
