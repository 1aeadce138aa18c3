"""One colour per label, the same on the picture and on the page, that everyone can tell apart."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

import appliance
from appliance.colours import COLOURS, bgr_of, lamp_rgb_of, rgb_of
from appliance.values import EMOTIONS
from tests.colour_vision import DEFICIENCIES, ciede2000, contrast, lab, linear, parse, seen_as

STATIC = Path(appliance.__file__).parent / "web" / "static"
SCHEMES = ("light", "dark")


def custom_properties(sheet: str, scheme: str) -> dict[str, str]:
    """The colours that a style sheet declares for a scheme."""
    text = (STATIC / sheet).read_text(encoding="utf-8")
    light, _, dark = text.partition("@media (prefers-color-scheme: dark)")
    root = {"light": light, "dark": dark}[scheme]
    block = root[root.index(":root {") :].split("}")[0]
    return dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6});", block))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_has_the_colours_of_the_picture(scheme: str) -> None:
    expected = {label: getattr(colour, scheme) for label, colour in COLOURS.items()}
    assert custom_properties("palette.css", scheme) == expected


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_everyone_can_tell_the_expressions_apart(scheme: str, deficiency: str) -> None:
    seen = {name: lab(seen_as(parse(getattr(COLOURS[name], scheme)), deficiency)) for name in EMOTIONS}
    distances = {pair: ciede2000(seen[pair[0]], seen[pair[1]]) for pair in combinations(EMOTIONS, 2)}
    closest = min(distances, key=distances.__getitem__)
    assert distances[closest] >= 10, closest


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ground", ["track", "surface", "ground"])
def test_each_colour_and_each_border_stands_out(scheme: str, ground: str) -> None:
    page = custom_properties("live.css", scheme)
    shown = {label: getattr(colour, scheme) for label, colour in COLOURS.items()} | {"line": page["line"]}
    ratios = {name: contrast(parse(colour), parse(page[ground])) for name, colour in shown.items()}
    assert min(ratios.values()) >= 3, ratios


def test_every_label_has_a_different_colour() -> None:
    assert set(EMOTIONS) < set(COLOURS)
    for scheme in SCHEMES:
        assert len({getattr(colour, scheme) for colour in COLOURS.values()}) == len(COLOURS)


@pytest.mark.parametrize("label", [*EMOTIONS, "unsure"])
def test_channels(label: str) -> None:
    assert "#{:02x}{:02x}{:02x}".format(*rgb_of(label)) == COLOURS[label].light
    assert "#{:02x}{:02x}{:02x}".format(*lamp_rgb_of(label)) == COLOURS[label].dark
    assert bgr_of(label) == rgb_of(label)[::-1]


@pytest.mark.parametrize("label", ["not_readable", "not_analysed", ""])
def test_other_labels_are_drawn_as_unsure(label: str) -> None:
    assert rgb_of(label) == rgb_of("unsure")


# --- the yardstick itself ----------------------------------------------------------------------------------

SHARMA = (
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)
"""Pairs of CIELAB colours and their distance, from the test data of Sharma, Wu and Dalal 2005."""


@pytest.mark.parametrize(("one", "other", "distance"), SHARMA)
def test_ciede2000_agrees_with_the_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], distance: float
) -> None:
    assert ciede2000(one, other) == pytest.approx(distance, abs=5e-5)
    assert ciede2000(other, one) == pytest.approx(distance, abs=5e-5)


def test_conversions_of_known_colours() -> None:
    assert lab(linear(parse("#ff0000"))) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert contrast(parse("#000000"), parse("#ffffff")) == pytest.approx(21)
    for deficiency in DEFICIENCIES:
        assert seen_as(parse("#808080"), deficiency) == pytest.approx(linear(parse("#808080")), abs=1e-4)
