"""The notice: what it must say, its version, and files that are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.consent.law import Paragraph
from appliance.consent.notice import KEEP_DAYS, notice_as_markdown, read_notice
from appliance.errors import ConfigError
from tests.machine import ROOT

TEXTS = {"1": "6664ca1d9612ac062e68efb44b28d9be34ea9652816169b8202357c9e7a3b162"}
"""The hash of each version that was ever shipped: a changed text gets a new version, and a new line here."""


def test_a_changed_text_gets_a_new_version() -> None:
    notice = read_notice().fill(KEEP_DAYS)
    assert TEXTS.get(notice.version) == notice.hash, "raise the version in notices/en.toml, and add it here"


def test_the_notice_says_what_people_must_know() -> None:
    text = " ".join(each.text for each in read_notice().fill(KEEP_DAYS).paragraphs)
    for needed in (
        *("angry, disgusted, fear, happy, sad, surprised or neutral", "on the device itself"),
        *("never stored", "7 days", "shown to those who have this device's page open", "Nothing is sent"),
        *("An expression is not a feeling", "Stop closes the camera", "Withdraw", "the link"),
    ):
        assert needed in text, needed


def test_other_days_or_another_law_make_another_version() -> None:
    text = read_notice()
    more = (Paragraph("More", "Words."),)
    made = [
        text.fill(KEEP_DAYS),
        text.fill(30),
        text.fill(KEEP_DAYS, more, "us-hiring"),
        text.fill(30, more, "us-hiring"),
    ]
    assert [each.version for each in made] == ["1", "1-30d", "1-us-hiring", "1-us-hiring-30d"]
    assert len({each.hash for each in made}) == 4
    assert "30 days" in " ".join(each.text for each in made[1].paragraphs)


def test_a_changed_owners_text_is_another_notice_despite_its_version(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    versions = []
    for word in ("one", "two"):
        file.write_text(f'version = "A"\ntitle = "T"\n[[paragraph]]\nheading = "H"\ntext = "{word}"\n')
        versions.append(read_notice(str(file)).fill(KEEP_DAYS).version)
        assert versions[-1] == f"A-{hashlib.sha256(file.read_bytes()).hexdigest()[:6]}"
    assert versions[0] != versions[1]


GOOD = '[[paragraph]]\nheading = "H"\ntext = "words"\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "version"),
        ("version = 1\ntitle = 'T'\n" + GOOD, "version"),
        ("version = 'no spaces'\ntitle = 'T'\n" + GOOD, "letters, digits"),
        ("version = '1'\n" + GOOD, "title"),
        ("version = '1'\ntitle = 'T'\n", "[[paragraph]]"),
        ("version = '1'\ntitle = 'T'\nparagraph = 'words'\n", "[[paragraph]]"),
        ("version = '1'\ntitle = 'T'\n[[paragraph]]\nheading = 'H'\n", "text"),
        ("version = '1'\ntitle = 'T'\n[[paragraph]]\nheading = 'H'\ntext = '{kep_days}'\n", "keep_days"),
        ("version = '1'\ntitle = 'T'\ncolour = 'red'\n" + GOOD, "colour"),
        ("version = ", "TOML"),
    ],
)
def test_a_malformed_notice_is_reported_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_notice(str(file))
    assert said in str(caught.value) and str(file) in str(caught.value)


def test_a_missing_notice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_notice(str(tmp_path / "none.toml"))


def test_the_page_in_docs_is_current() -> None:
    text = (ROOT / "docs" / "notice.md").read_text()
    assert notice_as_markdown(read_notice().fill(KEEP_DAYS)) in text, (
        "stale: copy it from appliance/consent/notices/en.toml"
    )
