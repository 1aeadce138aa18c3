"""One colour per label, the same on the picture and on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import appliance
from appliance.colours import PALETTE, label_bgr, label_rgb
from appliance.values import EMOTIONS

CSS = Path(appliance.__file__).parent / "web" / "static" / "palette.css"


def test_the_page_has_the_colours_of_the_picture() -> None:
    written = dict(re.findall(r"--([a-z]+):\s*(#[0-9a-f]{6});", CSS.read_text(encoding="utf-8")))
    assert written == PALETTE


def test_every_expression_has_a_colour_of_its_own() -> None:
    assert set(EMOTIONS) < set(PALETTE)
    assert len(set(PALETTE.values())) == len(PALETTE)


@pytest.mark.parametrize("label", [*EMOTIONS, "unsure"])
def test_channels(label: str) -> None:
    assert "#{:02x}{:02x}{:02x}".format(*label_rgb(label)) == PALETTE[label]
    assert label_bgr(label) == label_rgb(label)[::-1]


@pytest.mark.parametrize("label", ["not_readable", "not_analysed", ""])
def test_other_labels_are_drawn_as_unsure(label: str) -> None:
    assert label_rgb(label) == label_rgb("unsure")
