"""The notice: what it must say, its version and hash, its short form, and malformed files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.consent.law import Paragraph
from appliance.consent.notice import KEEP_DAYS, notice_as_markdown, read_notice
from appliance.errors import ConfigError
from tests.machine import ROOT

GOOD = '[[paragraph]]\nheading = "H"\ntext = "words"\n'

TEXTS = {
    "1": "6664ca1d9612ac062e68efb44b28d9be34ea9652816169b8202357c9e7a3b162",
    "2": "81ce28c02995d991e07d3b8e07265e80607676bdd645246128221fb6ca1bb268",
}
"""The hash of each version that was ever shipped: a changed text gets a new version, and a new line here."""

SUMMARIES = {"2": "ad7b564d3009bbbff4d5c2c616c5b7158d9f79f2bf31e9375947d272a291acef"}
"""The hash of the short form of each version; version 1 had none."""


def test_a_changed_text_gets_a_new_version() -> None:
    notice = read_notice().fill(KEEP_DAYS)
    summary = hashlib.sha256(notice.summary.encode()).hexdigest()
    found = TEXTS.get(notice.version), SUMMARIES.get(notice.version)
    assert found == (notice.hash, summary), "raise the version in notices/en.toml, and add it here"


def test_the_notice_says_what_people_must_know() -> None:
    text = " ".join(each.text for each in read_notice().fill(KEEP_DAYS).paragraphs)
    for needed in (
        *("angry, disgusted, fearful, happy, sad, surprised or neutral", "on the device itself"),
        *("only for people who agree", "Other faces stay visible", "not analysed", "No one is graded"),
        *("never stored", "7 days", "Anyone who has this device's page open sees", "Nothing is sent"),
        *("An expression is not a feeling", "Stop closes the camera", "Withdraw", "the link"),
    ):
        assert needed in text, needed


def test_the_short_form_has_the_promises_in_about_60_words() -> None:
    summary = read_notice().fill(KEEP_DAYS).summary
    assert 50 <= len(summary.split()) <= 70
    for needed in (
        *("on the device itself", "only of people who agree", "An expression is not a feeling"),
        *("often wrong", "never stored", "7 days", "Anyone with this page open sees"),
        *("stop at any time", "withdraw and erase everything recorded"),
    ):
        assert needed in summary, needed


def test_the_hash_is_of_the_full_text() -> None:
    text = read_notice()
    notice = text.fill(KEEP_DAYS)
    full = [notice.version, notice.title]
    for paragraph in notice.paragraphs:
        full += [paragraph.heading, paragraph.text]
    assert notice.hash == hashlib.sha256("\n".join(full).encode()).hexdigest()
    assert replace(notice, summary="").hash == notice.hash


def test_the_short_form_has_the_days_and_what_the_law_adds() -> None:
    more = (Paragraph("More", "Words."),)
    summary = read_notice().fill(30, more, "us2-hiring", "In short.").summary
    assert "30 days" in summary and summary.endswith(" In short.")


def test_a_notice_without_a_short_form_has_none_with_a_law_either(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("version = 'A'\ntitle = 'T'\n" + GOOD)
    notice = read_notice(str(file)).fill(KEEP_DAYS, (Paragraph("More", "Words."),), "us2-hiring", "In short.")
    assert (notice.summary, len(notice.paragraphs)) == ("", 2)


def test_an_owners_notice_may_have_a_short_form(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("version = 'A'\ntitle = 'T'\nsummary = 'Kept {keep_days} days.'\n" + GOOD)
    assert read_notice(str(file)).fill(14).summary == "Kept 14 days."


def test_other_days_or_another_law_make_another_version() -> None:
    text = read_notice()
    more = (Paragraph("More", "Words."),)
    made = [
        text.fill(KEEP_DAYS),
        text.fill(30),
        text.fill(KEEP_DAYS, more, "us2-hiring"),
        text.fill(30, more, "us2-hiring"),
    ]
    assert [each.version for each in made] == ["2", "2-30d", "2-us2-hiring", "2-us2-hiring-30d"]
    assert len({each.hash for each in made}) == 4
    assert "30 days" in " ".join(each.text for each in made[1].paragraphs)


def test_a_changed_owners_text_is_another_notice_even_with_the_same_version(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    versions = []
    for word in ("one", "two"):
        file.write_text(f'version = "A"\ntitle = "T"\n[[paragraph]]\nheading = "H"\ntext = "{word}"\n')
        versions.append(read_notice(str(file)).fill(KEEP_DAYS).version)
        assert versions[-1] == f"A-{hashlib.sha256(file.read_bytes()).hexdigest()[:6]}"
    assert versions[0] != versions[1]


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
        ("version = '1'\ntitle = 'T'\nsummary = ''\n" + GOOD, "summary"),
        ("version = '1'\ntitle = 'T'\nsummary = 7\n" + GOOD, "summary"),
        ("version = '1'\ntitle = 'T'\nsummary = '{kep_days}'\n" + GOOD, "keep_days"),
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


def test_the_example_in_docs_is_a_valid_notice(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "notice.md").read_text(), re.DOTALL)
    file = tmp_path / "own.toml"
    file.write_text(example)
    notice = read_notice(str(file)).fill(14)
    assert notice.version.startswith("A-") and "14 days" in notice.summary


def test_the_page_in_docs_is_current() -> None:
    text = (ROOT / "docs" / "notice.md").read_text()
    assert notice_as_markdown(read_notice().fill(KEEP_DAYS)) in text, (
        "stale: copy the text from appliance/consent/notices/en.toml"
    )
